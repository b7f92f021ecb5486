"""Chooses the provider that serves a job: its own or a fallback, as circuit breakers and limits allow."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.job.domain.circuit_breakers import Breaker, Route
from services.job.domain.jobs import Job
from services.job.domain.pauses import PauseKind, Pauses
from services.job.domain.providers import Provider
from services.job.domain.request_validation import lost_options

#: Free slots of a provider without limits.
UNLIMITED = 1_000_000
# A probe that another claim is about to record.
_ANOTHERS_PROBE = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class ClaimCapacity:
    """What generators may claim now."""

    #: The database's time.
    now: datetime
    #: Every known provider by name.
    catalogue: Mapping[str, Provider]
    #: Free slots by provider: further jobs that its limits allow.
    slots: Mapping[str, int]
    #: Breakers that have counted failures, by route.
    breakers: Mapping[Route, Breaker]
    #: What operators have paused.
    pauses: Pauses = field(default_factory=Pauses)

    def routes(self, job: Job) -> list[Route]:
        """Returns the job's routes without an open breaker and a pause of their provider, in order."""
        paused = self.pauses.names(PauseKind.PROVIDER)
        return [
            route
            for route in candidate_routes(job, self.catalogue)
            if route.provider not in paused and not self._is_blocked(route)
        ]

    def serving_route(self, job: Job) -> Route | None:
        """Returns the route by which a claim takes the job: the first that no breaker and no pause blocks; or None."""
        return next((route for route in self._claim_routes(job) if not self._is_blocked(route)), None)

    def is_held(self, job: Job) -> bool:
        """Whether a pause keeps every claim from the job: of the queue, its tenant, or all its providers."""
        is_paused = self.pauses.is_queue_paused or job.tenant in self.pauses.names(PauseKind.TENANT)
        return is_paused or not self._claim_routes(job)

    def blocking_breakers(self, job: Job) -> list[Breaker]:
        """Returns the breakers that block routes of the job."""
        return [self.breakers[route] for route in self._claim_routes(job) if self._is_blocked(route)]

    def probes(self) -> list[Breaker]:
        """Returns open breakers whose pause is over: one job each may be the probe."""
        return [
            breaker
            for breaker in self.breakers.values()
            if breaker.opened_at is not None and not breaker.is_open(self.now)
        ]

    def with_probes(
        self, breakers: Mapping[Route, Breaker], *, only: Collection[Route], of: Collection[str]
    ) -> "ClaimCapacity":
        """Returns this with breakers that were read later; of the providers `of`, those routes alone may be probed."""
        later = replace(self, breakers=breakers)
        others = {
            breaker.route: replace(breaker, probe_until=self.now + _ANOTHERS_PROBE)
            for breaker in later.probes()
            if breaker.provider in of and breaker.route not in only
        }
        return replace(self, breakers={**breakers, **others})

    def blocking(self) -> list[Breaker]:
        """Returns breakers whose routes no job may use."""
        return [breaker for breaker in self.breakers.values() if breaker.is_open(self.now)]

    def _claim_routes(self, job: Job) -> list[Route]:
        """Returns the routes without a pause of their provider, in the order in which `lanes.FIND_LANES` tries them."""
        paused = self.pauses.names(PauseKind.PROVIDER)
        fallbacks = [self.catalogue[name] for name in job.fallback if name in self.catalogue]
        defaults = [Route(provider=provider.name, model=provider.default_model) for provider in fallbacks]
        routes = [Route(provider=job.provider, model=job.model), *defaults]
        return [route for route in routes if route.provider not in paused]

    def _is_blocked(self, route: Route) -> bool:
        breaker = self.breakers.get(route)
        return breaker is not None and breaker.is_open(self.now)


def free_slots(provider: Provider, *, in_use: int, begun: int) -> int:
    """Returns the further jobs that a provider's limits allow, with calls in use and begun in the last minute."""
    free = UNLIMITED
    if provider.max_concurrency:
        free = min(free, provider.max_concurrency - in_use)
    if provider.requests_per_minute:
        free = min(free, provider.requests_per_minute - begun)
    return max(free, 0)


def provider_limit_reached(provider: str, limit: int, *, is_rate: bool) -> str:
    """Returns the message about a provider's limit of concurrent calls, or of calls within a minute."""
    calls = "calls within a minute" if is_rate else "concurrent calls"
    return f"{provider} has reached its limit of {limit} {calls}."


def candidate_routes(job: Job, catalogue: Mapping[str, Provider]) -> Iterator[Route]:
    """Yields the routes of a job in order: its provider, then its fallbacks with their default models."""
    yield Route(provider=job.provider, model=job.model)
    for name in job.fallback:
        provider = catalogue.get(name)
        if provider is not None and name != job.provider and not _would_drop_options(job, provider):
            yield Route(provider=name, model=provider.default_model)


def _would_drop_options(job: Job, provider: Provider) -> bool:
    """Whether the provider would drop options of the job: its file may have changed since the job was validated."""
    able = provider.as_model(provider.default_model).capabilities
    return job.request is not None and bool(lost_options(job.request, able))


def blocking_breaker(job: Job, catalogue: Mapping[str, Provider], breakers: Mapping[Route, Breaker]) -> Breaker | None:
    """Returns the breaker of the job's own provider if the breakers of all its routes are open; None otherwise."""
    on_routes = [breakers.get(route) for route in candidate_routes(job, catalogue)]
    if any(breaker is None or breaker.opened_at is None for breaker in on_routes):
        return None
    return on_routes[0]
