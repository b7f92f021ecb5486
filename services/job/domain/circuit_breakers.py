"""Circuit breaker of one (provider, model): which results of calls open and close it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.job.domain.calls import CallOutcome, Phase
from services.job.domain.failures import Code, Failure, Stage

#: Failures in a row that open a breaker; a refused credential opens it at once.
FAILURES_TO_OPEN = 5
#: First and longest time in seconds until one job tries again; each failed try doubles it.
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0
#: Jobs that wait for a refused credential alone are failed after this many seconds.
AUTH_PATIENCE = 300.0
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


def health_of(outcome: CallOutcome) -> Health:
    """What the end of a call says of its provider; a refusal of the picture is an answer like any other."""
    if outcome.phase in (Phase.SUCCEEDED, Phase.REFUSED):
        return Health.WELL
    if outcome.reason == "PROVIDER_AUTH":
        return Health.REFUSED
    if outcome.reason in ("PROVIDER_UNAVAILABLE", "PROVIDER_TIMEOUT"):
        return Health.ILL
    return Health.SILENT


def next_state(breaker: Breaker, outcomes: Sequence[CallOutcome], *, now: datetime) -> Breaker:
    """The breaker after calls ended, in their order; without failures it has nothing to say any more."""
    for outcome in outcomes:
        match health_of(outcome):
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
