"""What a tenant may use and spend, what a call may cost, and whether a budget covers it.

Amounts are millionths of a US dollar; days and months are of the calendar in UTC, by the database's time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from services.job.domain.calls import Phase
from services.job.domain.circuit_breakers import Route
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal, Violation


class Period(StrEnum):
    """What a budget is for."""

    DAY = "day"
    MONTH = "month"

    def start(self, day: date) -> date:
        """The first day of the period that a day is in."""
        return day if self is Period.DAY else day.replace(day=1)

    def next_start(self, day: date) -> date:
        """The first day of the period after it."""
        return self.start(self.start(day) + timedelta(days=1 if self is Period.DAY else 32))


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a tenant may use and spend: `providers` holds `provider` or `provider/model`; None bounds nothing."""

    providers: tuple[str, ...] | None = None
    per_day: int | None = None
    per_month: int | None = None

    @property
    def has_budget(self) -> bool:
        """Whether what the tenant's calls cost is counted."""
        return self.per_day is not None or self.per_month is not None

    def most(self, period: Period) -> int | None:
        """The budget for a period."""
        return self.per_day if period is Period.DAY else self.per_month

    def allows(self, route: Route) -> bool:
        """Whether the tenant may use a model of a provider."""
        whole, one = route.provider, f"{route.provider}/{route.model}"
        return self.providers is None or whole in self.providers or one in self.providers

    def narrow(self, catalogue: Mapping[str, Provider]) -> dict[str, Provider]:
        """The catalogue as the tenant has it: what it may not use is not there. One of it is always the default."""
        if self.providers is None:
            return dict(catalogue)
        found = {name: one for name, provider in catalogue.items() if (one := self._narrowed(provider)) is not None}
        if found and not any(one.is_default for one in found.values()):
            first = min(found)
            found[first] = replace(found[first], is_default=True)
        return found

    def ways_around(self, catalogue: Mapping[str, Provider]) -> dict[str, Provider]:
        """Providers that may serve as a fallback: that is what their default model does, so the tenant may use it."""
        return {
            name: one for name, one in catalogue.items() if self.allows(Route(provider=name, model=one.default_model))
        }

    def _narrowed(self, provider: Provider) -> Provider | None:
        models = tuple(one for one in provider.models if self.allows(Route(provider=provider.name, model=one.name)))
        if self.allows(Route(provider=provider.name, model=provider.default_model)):
            return replace(provider, models=models)
        return replace(provider, models=models, default_model=models[0].name) if models else None


@dataclass(frozen=True, kw_only=True)
class Used:
    """What was spent in a period by calls whose end is known, and what is reserved for all others."""

    spent_micros: int = 0
    reserved_micros: int = 0

    @property
    def total(self) -> int:
        """What is no longer there to be spent."""
        return self.spent_micros + self.reserved_micros


@dataclass(frozen=True, kw_only=True)
class TenantSpending:
    """How a tenant stands at a moment."""

    tenant: str
    now: datetime
    allowance: Allowance = field(default_factory=Allowance)
    used: Mapping[Period, Used] = field(default_factory=dict)

    @property
    def today(self) -> date:
        """The day that a call counts in which begins now."""
        return self.now.astimezone(UTC).date()


def price_of(provider: Provider, model: str, *, images: int) -> int | None:
    """The most that a call for so many images costs by the provider file; None where that does not tell."""
    if provider.as_model(model).capabilities.free:
        return 0
    each = next((one.price_micros_per_image for one in provider.models if one.name == model), None)
    return None if each is None else each * images


def charge(phase: Phase, *, reserved: int, cost: int | None) -> int | None:
    """What a call counts for that was begun with a reservation; None while that stays, as its end is not known."""
    match phase:
        case Phase.INTENDED | Phase.ACCEPTED | Phase.UNKNOWN:
            return None
        case Phase.SUCCEEDED:
            return reserved if cost is None else cost
        case _:
            return cost or 0


def check(standing: TenantSpending, *, price: int, totals: Mapping[Period, int]) -> None:
    """Make sure that the budgets cover a price; `totals` is what is spent and reserved with it.

    Raises `Refusal` BUDGET_EXHAUSTED. What costs nothing is never refused.
    """
    bounds = {period: most for period in Period if (most := standing.allowance.most(period)) is not None}
    over = [period for period, most in bounds.items() if totals[period] > most]
    if not over or price == 0:
        return
    # The last is the month, which takes longest.
    period = over[-1]
    begins_anew = datetime.combine(period.next_start(standing.today), time(), UTC)
    will_fit = all(price <= most for most in bounds.values())
    raise Refusal(
        "BUDGET_EXHAUSTED",
        # Without amounts: why a job failed is shown to browsers, too.
        f"The tenant's budget for the {period} does not cover this; the next {period} begins at {begins_anew:%FT%TZ}.",
        metadata={"budget": f"budget_micros_per_{period}"},
        retry_after_seconds=(begins_anew - standing.now).total_seconds() if will_fit else None,
    )


def without_price(ways: Mapping[str, tuple[Provider, str]]) -> Iterator[Violation]:
    """Each way of a job, by the field that names it, whose price nobody knows."""
    for name, (provider, model) in ways.items():
        if price_of(provider, model, images=1) is None:
            message = f"{provider.name} names no price for {model[:80]}, and what this tenant may spend is limited."
            yield Violation(field=name, message=message)
