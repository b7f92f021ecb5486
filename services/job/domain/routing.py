"""Which provider serves a job: its own or a fallback, as breakers and limits allow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.job.domain.calls import CallOutcome, Phase
from services.job.domain.choosing import lost_options
from services.job.domain.failures import Code, Failure, Stage
from services.job.domain.jobs import Job
from services.job.domain.requests import Provider

#: Failures in a row that open a breaker; a refused credential opens it at once.
FAILURES_TO_OPEN = 5
#: First and longest time in seconds until one job tries again; each failed try doubles it.
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0
#: Jobs that wait for a refused credential alone are failed after this many seconds.
AUTH_PATIENCE = 300.0
#: No limit.
MANY = 1_000_000
_CAUSES = {
    Code.AUTH_ERROR: "{provider} refuses the credential that is configured for it.",
    Code.TIMEOUT: "{provider} has not been answering in time.",
}


class Health(StrEnum):
    """What the end of a call says of its provider."""

    WELL = "well"
    ILL = "ill"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True)
class Route:
    """A provider and the model that it is asked for."""

    provider: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """Failures in a row of one route. Open it lets no job pass, but one now and then that tries."""

    provider: str
    model: str
    failures: int = 0
    code: Code = Code.TEMPORARY
    reason: str = "PROVIDER_UNAVAILABLE"
    opened_at: datetime | None = None
    open_until: datetime | None = None
    probe_until: datetime | None = None

    @property
    def route(self) -> Route:
        """What it guards."""
        return Route(provider=self.provider, model=self.model)

    def is_open(self, now: datetime) -> bool:
        """Whether no job may pass now, or somebody is trying already."""
        return any(until is not None and until > now for until in (self.open_until, self.probe_until))

    def cause(self) -> Failure:
        """Why jobs wait, as they are told when they have waited for too long."""
        words = _CAUSES.get(self.code, "{provider} has been failing.")
        return Failure(
            stage=Stage.QUEUED,
            code=self.code,
            reason=self.reason,
            message=words.format(provider=self.provider),
            retryable=True,
        )


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What may be claimed now: places per provider, and breakers by route."""

    now: datetime
    catalogue: Mapping[str, Provider]
    places: Mapping[str, int]
    breakers: Mapping[Route, Breaker]

    def routes(self, job: Job) -> list[Route]:
        """The job's routes that are not barred, in order."""
        return [route for route in steps(job, self.catalogue) if not self._is_barred(route)]

    def probes(self) -> list[Breaker]:
        """Breakers that one job may try now."""
        return [one for one in self.breakers.values() if one.opened_at is not None and not one.is_open(self.now)]

    def barred(self) -> list[Breaker]:
        """Breakers that let nobody pass."""
        return [one for one in self.breakers.values() if one.is_open(self.now)]

    def _is_barred(self, route: Route) -> bool:
        breaker = self.breakers.get(route)
        return breaker is not None and breaker.is_open(self.now)


def steps(job: Job, catalogue: Mapping[str, Provider]) -> Iterator[Route]:
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


def blocking(job: Job, catalogue: Mapping[str, Provider], breakers: Mapping[Route, Breaker]) -> Breaker | None:
    """The breaker for which a job waits: that of its own provider, when it has no way around."""
    found = [breakers.get(step) for step in steps(job, catalogue)]
    if any(one is None or one.opened_at is None for one in found):
        return None
    return found[0]


def health(outcome: CallOutcome) -> Health:
    """What the end of a call says of its provider; a refusal of the picture is an answer like any other."""
    if outcome.phase in (Phase.SUCCEEDED, Phase.REFUSED):
        return Health.WELL
    if outcome.reason == "PROVIDER_AUTH":
        return Health.REFUSED
    if outcome.reason in ("PROVIDER_UNAVAILABLE", "PROVIDER_TIMEOUT"):
        return Health.ILL
    return Health.SILENT


def after(breaker: Breaker, outcomes: Sequence[CallOutcome], *, now: datetime) -> Breaker:
    """The breaker after calls ended, in their order; without failures it has nothing to say any more."""
    for outcome in outcomes:
        match health(outcome):
            case Health.WELL:
                breaker = Breaker(provider=breaker.provider, model=breaker.model)
            case Health.ILL | Health.REFUSED:
                breaker = _after_failure(breaker, outcome, now=now)
            case Health.SILENT:
                # Whoever tried has learned nothing; another may.
                breaker = replace(breaker, probe_until=None)
    return breaker


def _after_failure(breaker: Breaker, outcome: CallOutcome, *, now: datetime) -> Breaker:
    failures = breaker.failures + 1
    code, reason = outcome.code or Code.TEMPORARY, outcome.reason or breaker.reason
    failed = replace(breaker, failures=failures, code=code, reason=reason, probe_until=None)
    opens = 1 if code is Code.AUTH_ERROR else FAILURES_TO_OPEN
    if failures < opens and breaker.opened_at is None:
        return failed
    if breaker.open_until is not None and breaker.open_until > now:
        # Calls that were under way when it opened say nothing new.
        return failed
    pause = min(FIRST_PAUSE * 2.0 ** min(max(failures - opens, 0), 10), LONGEST_PAUSE)
    return replace(failed, opened_at=breaker.opened_at or now, open_until=now + timedelta(seconds=pause))
