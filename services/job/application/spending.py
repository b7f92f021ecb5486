"""Hold budgets: what a job may cost is looked at when it is submitted, what a call may cost reserved when it begins."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from services.job.domain import bounds, spending
from services.job.domain.calls import ProviderCall
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.spending import TenantSpending
from services.job.store import spending as store
from services.job.store.calls import SettledCall
from services.job.store.spending import Move


def refuse_unpriced(standing: TenantSpending, ways: Mapping[str, tuple[Provider, str]]) -> None:
    """Refuse a bounded tenant's job for each way, by the field that names it, whose price nobody knows.

    Raises `Refusal` INVALID_INPUT.
    """
    if standing.allowance.has_budget:
        bounds.check(spending.unpriced(ways))


def refuse_uncovered(standing: TenantSpending, ways: Iterable[tuple[Provider, str]], *, images: int) -> None:
    """Refuse a job none of whose ways the budget covers by now; a way without a price counts as none.

    Nothing is reserved: only the beginning of a call tells for sure. Raises `Refusal` BUDGET_EXHAUSTED.
    """
    if not standing.allowance.has_budget:
        return
    prices = [spending.price_of(provider, model, images=images) for provider, model in ways]
    least = min((price for price in prices if price is not None), default=0)
    spending.check(standing, price=least, totals={period: used.total + least for period, used in standing.used.items()})


def reserve(connection: Connection, standing: TenantSpending, call: ProviderCall, provider: Provider) -> ProviderCall:
    """The call with what is reserved for it.

    Raises `Refusal`: BUDGET_EXHAUSTED, UNSUPPORTED for a price that nobody knows.
    """
    if not standing.allowance.has_budget or provider.as_model(call.model).capabilities.free:
        return call
    price = spending.price_of(provider, call.model, images=len(call.image_indexes))
    if price is None:
        raise Refusal("UNSUPPORTED", f"{provider.name} names no price for {call.model}, and the tenant has a budget.")
    # The refusal takes back what is added here.
    used = store.reserve(connection, standing.tenant, standing.today, price)
    spending.check(standing, price=price, totals={period: one.total for period, one in used.items()})
    return replace(call, billed_to=standing.tenant, billed_on=standing.today, reserved_micros=price)


def settle(connection: Connection, settled: Sequence[SettledCall]) -> None:
    """Count what calls cost that have just ended, in place of what was reserved for them. Lock no job after it."""
    if moves := _moves(settled):
        store.move(connection, moves)


def _moves(settled: Sequence[SettledCall]) -> list[Move]:
    moves = []
    for one in settled:
        if one.billed_to is None or one.billed_on is None or one.reserved_micros is None:
            continue
        cost = spending.charge(one.phase, reserved=one.reserved_micros, cost=one.cost_micros)
        if cost is not None:
            moves.append(Move(tenant=one.billed_to, day=one.billed_on, spent=cost, reserved=-one.reserved_micros))
    return moves
