"""Which provider serves a job: its own or a fallback, as breakers and limits allow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.job.domain.circuit_breakers import Breaker, Route
from services.job.domain.jobs import Job
from services.job.domain.providers import Provider
from services.job.domain.request_validation import lost_options

#: No limit.
MANY = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ClaimCapacity:
    """What may be claimed now: places per provider, and breakers by route."""

    now: datetime
    catalogue: Mapping[str, Provider]
    places: Mapping[str, int]
    breakers: Mapping[Route, Breaker]

    def routes(self, job: Job) -> list[Route]:
        """The job's routes that are not barred, in order."""
        return [route for route in candidate_routes(job, self.catalogue) if not self._is_barred(route)]

    def probes(self) -> list[Breaker]:
        """Breakers that one job may try now."""
        return [one for one in self.breakers.values() if one.opened_at is not None and not one.is_open(self.now)]

    def barred(self) -> list[Breaker]:
        """Breakers that let nobody pass."""
        return [one for one in self.breakers.values() if one.is_open(self.now)]

    def _is_barred(self, route: Route) -> bool:
        breaker = self.breakers.get(route)
        return breaker is not None and breaker.is_open(self.now)


def candidate_routes(job: Job, catalogue: Mapping[str, Provider]) -> Iterator[Route]:
    """Where a job may go, in order: its provider, then its fallbacks with the models that they use by default."""
    yield Route(provider=job.provider, model=job.model)
    for name in job.fallback:
        provider = catalogue.get(name)
        if provider is not None and name != job.provider and not _would_lose(job, provider):
            yield Route(provider=name, model=provider.default_model)


def _would_lose(job: Job, provider: Provider) -> bool:
    """Whether a provider's file has changed since its default model was found able to do all that the job asks."""
    able = provider.as_model(provider.default_model).capabilities
    return job.request is not None and bool(lost_options(job.request, able))


def blocking_breaker(job: Job, catalogue: Mapping[str, Provider], breakers: Mapping[Route, Breaker]) -> Breaker | None:
    """The breaker for which a job waits: that of its own provider, when it has no way around."""
    found = [breakers.get(step) for step in candidate_routes(job, catalogue)]
    if any(one is None or one.opened_at is None for one in found):
        return None
    return found[0]
