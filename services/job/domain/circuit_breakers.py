"""Circuit breaker of one provider and model: which ends of calls open and close it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from calotype.error_reasons import Code, Reason

from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.failures import Failure, Stage

#: Consecutive failures that open a breaker; a refused credential opens it at once.
FAILURES_TO_OPEN = 5
#: First and longest seconds until a probe; each failed probe doubles the pause.
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0
#: Seconds after which jobs that wait only for a refused credential are failed.
MAX_AUTH_OUTAGE_SECONDS = 300.0
_CAUSES = {
    Code.AUTH_ERROR: "{provider} refuses the credential that is configured for it.",
    Code.TIMEOUT: "{provider} has not been responding in time.",
}


class Health(StrEnum):
    """What the end of a call says about its provider's health."""

    #: The provider responded; a refusal of the content counts, too.
    SUCCESS = "success"
    #: The provider was unavailable or timed out.
    FAILURE = "failure"
    #: The provider refused the credential.
    REFUSED = "refused"
    #: Nothing.
    IGNORED = "ignored"


@dataclass(frozen=True, kw_only=True)
class Route:
    """A provider and one of its models."""

    #: Name of the provider.
    provider: str
    #: Name of the model.
    model: str


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """Circuit breaker of one route; while open, a single probe is claimed at a time (half-open)."""

    #: Name of the provider.
    provider: str
    #: Name of the model.
    model: str
    #: Consecutive failures.
    failures: int = 0
    #: Class of the last failure.
    code: Code = Code.TEMPORARY
    #: Reason of the last failure.
    reason: Reason = Reason.PROVIDER_UNAVAILABLE
    #: Time at which it opened; None while closed.
    opened_at: datetime | None = None
    #: Time of the next probe; None while closed.
    open_until: datetime | None = None
    #: Time until which a probe runs; None without one.
    probe_until: datetime | None = None

    @property
    def route(self) -> Route:
        """The route that it guards."""
        return Route(provider=self.provider, model=self.model)

    def is_open(self, now: datetime) -> bool:
        """Whether no job may use the route now: its pause goes on, or a probe runs."""
        return self.blocked_until is not None and self.blocked_until > now

    @property
    def blocked_until(self) -> datetime | None:
        """Time until which no job may use the route: the end of its pause or of its probe; None while closed."""
        return max((until for until in (self.open_until, self.probe_until) if until is not None), default=None)

    def cause(self) -> Failure:
        """Returns the failure of a job that waited for this route too long."""
        message = _CAUSES.get(self.code, "{provider} has been failing.")
        return Failure(
            stage=Stage.QUEUED,
            code=self.code,
            reason=self.reason,
            message=message.format(provider=self.provider),
            retryable=True,
        )


def health_of(outcome: CallOutcome) -> Health:
    """Returns what the end of a call says about its provider; a refusal of the content counts as a success."""
    if outcome.phase in (CallPhase.SUCCEEDED, CallPhase.REFUSED):
        return Health.SUCCESS
    if outcome.reason == Reason.PROVIDER_AUTH:
        return Health.REFUSED
    if outcome.reason in (Reason.PROVIDER_UNAVAILABLE, Reason.PROVIDER_TIMEOUT):
        return Health.FAILURE
    return Health.IGNORED


def next_state(breaker: Breaker, outcomes: Sequence[CallOutcome], *, now: datetime) -> Breaker:
    """Returns the breaker after calls ended, in their order; one without failures may be forgotten."""
    for outcome in outcomes:
        match health_of(outcome):
            case Health.SUCCESS:
                breaker = Breaker(provider=breaker.provider, model=breaker.model)
            case Health.FAILURE | Health.REFUSED:
                breaker = _after_failure(breaker, outcome, now=now)
            case Health.IGNORED:
                # If this call was the probe, it showed nothing: another may begin.
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
        # Calls that were open when the breaker opened do not prolong its pause.
        return failed
    pause = min(FIRST_PAUSE * 2.0 ** min(max(failures - opens, 0), 10), LONGEST_PAUSE)
    return replace(failed, opened_at=breaker.opened_at or now, open_until=now + timedelta(seconds=pause))
