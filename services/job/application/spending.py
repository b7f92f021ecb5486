"""Enforces budgets: a job's price is checked when it is submitted, a call's price is reserved when it begins."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.domain import bounds, spending
from services.job.domain.calls import ProviderCall
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.spending import TenantSpending
from services.job.store import spending as store
from services.job.store.calls import SettledCall
from services.job.store.spending import Move


def refuse_unpriced(tenant: TenantSpending, routes: Mapping[str, tuple[Provider, str]]) -> None:
    """Refuses a job of a tenant with a budget whose routes have no price; keys are the fields that name the routes.

    Raises `Refusal` INVALID_INPUT.
    """
    if tenant.allowance.has_budget:
        bounds.check(spending.unpriced(routes))


def refuse_uncovered(tenant: TenantSpending, routes: Iterable[tuple[Provider, str]], *, images: int) -> None:
    """Refuses a job if the budget covers none of its routes now; a route without a price is ignored.

    Nothing is reserved: only the beginning of a call decides. Raises `Refusal` BUDGET_EXHAUSTED.
    """
    if not tenant.allowance.has_budget:
        return
    prices = [spending.price_of(provider, model, images=images) for provider, model in routes]
    lowest = min((price for price in prices if price is not None), default=0)
    spending.check(tenant, price=lowest, totals={period: used.total + lowest for period, used in tenant.used.items()})


def reserved_price(tenant: TenantSpending, call: ProviderCall, provider: Provider) -> int | None:
    """Returns the price of a call that counts against a budget; None for a call that does not count.

    Raises `Refusal` UNSUPPORTED for an unknown price.
    """
    if not tenant.allowance.has_budget or provider.as_model(call.model).capabilities.free:
        return None
    price = spending.price_of(provider, call.model, images=len(call.image_indexes))
    if price is None:
        raise Refusal(
            Reason.UNSUPPORTED, f"{provider.name} names no price for {call.model}, and the tenant has a budget."
        )
    return price


def with_reservation(call: ProviderCall, tenant: TenantSpending, price: int) -> ProviderCall:
    """Returns a call with its reservation."""
    return replace(call, billed_to=tenant.tenant, billed_on=tenant.today, reserved_micros=price)


class LockedSums:
    """Sums of tenants that the transaction has locked, for reservations that are written together."""

    def __init__(self, connection: Connection, tenants: Collection[str], day: date) -> None:
        self._connection = connection
        self._day = day
        self._used = store.lock_free(connection, tenants, day)
        self._added: Counter[str] = Counter()

    def has(self, tenant: str) -> bool:
        """Whether the tenant's sums exist and were free."""
        return tenant in self._used

    def check(self, tenant: TenantSpending, price: int) -> None:
        """Raises `Refusal` BUDGET_EXHAUSTED if the budgets do not cover the price."""
        added = self._added[tenant.tenant] + price
        totals = {period: used.total + added for period, used in self._used[tenant.tenant].items()}
        spending.check(tenant, price=price, totals=totals)

    def add(self, tenant: str, price: int) -> None:
        """Adds a reservation, which counts for those after it."""
        self._added[tenant] += price

    def write(self) -> None:
        """Writes all reservations."""
        store.move_locked(
            self._connection,
            [Move(tenant=tenant, day=self._day, spent=0, reserved=added) for tenant, added in self._added.items()],
        )


def reserve(connection: Connection, tenant: TenantSpending, call: ProviderCall, provider: Provider) -> ProviderCall:
    """Reserves the price of a call; returns the call with its reservation.

    Raises `Refusal`: BUDGET_EXHAUSTED, UNSUPPORTED for an unknown price.
    """
    price = reserved_price(tenant, call, provider)
    if price is None:
        return call
    # A refusal rolls this back.
    sums = store.reserve(connection, tenant.tenant, tenant.today, price)
    spending.check(tenant, price=price, totals={period: used.total for period, used in sums.items()})
    return with_reservation(call, tenant, price)


def settle(connection: Connection, settled: Sequence[SettledCall]) -> None:
    """Replaces the reservations of calls that just ended by their costs. It locks sums: lock no job after it."""
    store.move(connection, _moves(settled))


def _moves(settled: Sequence[SettledCall]) -> list[Move]:
    moves = []
    for call in settled:
        if call.billed_to is None or call.billed_on is None or call.reserved_micros is None:
            continue
        cost = spending.charge(call.phase, reserved=call.reserved_micros, cost=call.cost_micros)
        if cost is not None:
            moves.append(Move(tenant=call.billed_to, day=call.billed_on, spent=cost, reserved=-call.reserved_micros))
    return moves
