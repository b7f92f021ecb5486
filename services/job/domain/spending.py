"""Allowances and budgets of tenants, prices of calls, and whether a budget covers a price.

Amounts are millionths of a US dollar; days and months are calendar days and months in UTC, by the database's time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from calotype.error_reasons import Reason

from services.job.domain.calls import CallPhase
from services.job.domain.circuit_breakers import Route
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal, Violation


class Period(StrEnum):
    """Period of a budget."""

    DAY = "day"
    MONTH = "month"

    def start(self, day: date) -> date:
        """Returns the first day of the period that contains `day`."""
        return day if self is Period.DAY else day.replace(day=1)

    def next_start(self, day: date) -> date:
        """Returns the first day of the following period."""
        return self.start(self.start(day) + timedelta(days=1 if self is Period.DAY else 32))


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a tenant may use and spend."""

    #: Allowed providers, each entry `provider` or `provider/model`; None allows all.
    providers: tuple[str, ...] | None = None
    #: Budget per day; None is no limit.
    per_day: int | None = None
    #: Budget per month; None is no limit.
    per_month: int | None = None

    @property
    def has_budget(self) -> bool:
        """Whether the costs of the tenant's calls are counted."""
        return self.per_day is not None or self.per_month is not None

    def budget(self, period: Period) -> int | None:
        """Returns the budget for a period; None is no limit."""
        return self.per_day if period is Period.DAY else self.per_month

    def allows(self, route: Route) -> bool:
        """Whether the tenant may use a model of a provider."""
        entries = {route.provider, f"{route.provider}/{route.model}"}
        return self.providers is None or not entries.isdisjoint(self.providers)

    def narrow(self, catalogue: Mapping[str, Provider]) -> dict[str, Provider]:
        """Returns the providers and models that the tenant may use; one of them is always the default."""
        if self.providers is None:
            return dict(catalogue)
        allowed = {
            name: narrowed for name, provider in catalogue.items() if (narrowed := self._narrowed(provider)) is not None
        }
        if allowed and not any(provider.is_default for provider in allowed.values()):
            first = min(allowed)
            allowed[first] = replace(allowed[first], is_default=True)
        return allowed

    def fallback_providers(self, catalogue: Mapping[str, Provider]) -> dict[str, Provider]:
        """Returns the providers that the tenant may name as fallbacks: those whose default model it may use."""
        return {
            name: provider
            for name, provider in catalogue.items()
            if self.allows(Route(provider=name, model=provider.default_model))
        }

    def _narrowed(self, provider: Provider) -> Provider | None:
        models = tuple(
            model for model in provider.models if self.allows(Route(provider=provider.name, model=model.name))
        )
        if self.allows(Route(provider=provider.name, model=provider.default_model)):
            return replace(provider, models=models)
        return replace(provider, models=models, default_model=models[0].name) if models else None


@dataclass(frozen=True, kw_only=True)
class PeriodSpending:
    """Spent and reserved amounts of one period."""

    #: Cost of calls whose end is known.
    spent_micros: int = 0
    #: Reservations of all other calls.
    reserved_micros: int = 0

    @property
    def total(self) -> int:
        """Amount that is no longer available."""
        return self.spent_micros + self.reserved_micros


@dataclass(frozen=True, kw_only=True)
class TenantSpending:
    """Allowance and spending of a tenant at one moment."""

    #: Name of the tenant.
    tenant: str
    #: The database's time.
    now: datetime
    #: What it may use and spend.
    allowance: Allowance = field(default_factory=Allowance)
    #: Amounts of the current day and month.
    used: Mapping[Period, PeriodSpending] = field(default_factory=dict)

    @property
    def today(self) -> date:
        """The day (UTC) on which a call that begins now counts."""
        return self.now.astimezone(UTC).date()


def price_of(provider: Provider, model: str, *, images: int) -> int | None:
    """Returns the highest cost of a call by the provider file; None when the file names no price."""
    if provider.as_model(model).capabilities.free:
        return 0
    price = next((known.price_micros_per_image for known in provider.models if known.name == model), None)
    return None if price is None else price * images


def charge(phase: CallPhase, *, reserved: int, cost: int | None) -> int | None:
    """Returns the amount that replaces a call's reservation; None in open phases and UNKNOWN, where it stays."""
    match phase:
        case CallPhase.INTENDED | CallPhase.ACCEPTED | CallPhase.UNKNOWN:
            return None
        case CallPhase.SUCCEEDED:
            return reserved if cost is None else cost
        case _:
            return cost or 0


def check(spending: TenantSpending, *, price: int, totals: Mapping[Period, int]) -> None:
    """Checks that the budgets cover a price; `totals` are the spent and reserved amounts including it.

    Raises `Refusal` BUDGET_EXHAUSTED. A price of 0 is never refused.
    """
    budgets = {period: budget for period in Period if (budget := spending.allowance.budget(period)) is not None}
    exceeded = [period for period, budget in budgets.items() if totals[period] > budget]
    if not exceeded or price == 0:
        return
    # The last one is the month, which ends last.
    period = exceeded[-1]
    next_start = datetime.combine(period.next_start(spending.today), time(), UTC)
    will_fit = all(price <= budget for budget in budgets.values())
    raise Refusal(
        Reason.BUDGET_EXHAUSTED,
        # Without amounts: browsers see the failures of jobs, too.
        f"The tenant's budget for the {period} does not cover this; the next {period} begins at {next_start:%FT%TZ}.",
        metadata={"budget": f"budget_micros_per_{period}"},
        retry_after_seconds=(next_start - spending.now).total_seconds() if will_fit else None,
    )


def unpriced(routes: Mapping[str, tuple[Provider, str]]) -> Iterator[Violation]:
    """Yields a violation for each (provider, model) without a price; keys are the request's fields that name them."""
    for name, (provider, model) in routes.items():
        if price_of(provider, model, images=1) is None:
            message = f"{provider.name} names no price for {model[:80]}, and this tenant has a budget."
            yield Violation(field=name, message=message)
