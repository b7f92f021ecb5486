"""Automatic retries: how many per code, and when."""

from dataclasses import dataclass

from services.job.domain.failures import Code, Failure, Stage
from services.job.domain.jobs import Job

#: First wait and longest wait in seconds; each further failure doubles the wait.
BACKOFF = {Code.RATE_LIMIT: (5.0, 300.0)}
DEFAULT_BACKOFF = (2.0, 60.0)
RATE_LIMIT_ATTEMPTS = 10
UNKNOWN_ATTEMPTS = 2
#: Longest wait that a provider's own word can cause.
LONGEST_RETRY_AFTER = 3600.0
#: Rescues of a job with an open call; the claimer decides about the call, so a rescue costs nothing.
MAX_RECOVERIES = 5
#: Counted beside the failures: how often a limit put the job back since its last call.
DEFERRALS = "deferrals"
#: Deferrals after which the waits grow no more: a place may be free at any time.
LONGEST_DEFERRALS = 4


@dataclass(frozen=True, kw_only=True)
class Requeue:
    """Try again after so many seconds."""

    delay_seconds: float
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The budget is spent, or another try would not help."""

    counts: dict[str, int]


def budget(code: Code, *, max_attempts: int) -> int:
    """Failures of a code after which no further attempt is made."""
    match code:
        case Code.TEMPORARY | Code.TIMEOUT:
            return max_attempts
        case Code.RATE_LIMIT:
            return RATE_LIMIT_ATTEMPTS
        case Code.UNKNOWN:
            return UNKNOWN_ATTEMPTS
        case Code.AUTH_ERROR | Code.PERMANENT:
            return 1


def decide(job: Job, failure: Failure, *, max_attempts: int, jitter: float) -> Requeue | GiveUp:
    """Count a failure and decide what follows; `jitter` is a random number in [0, 1)."""
    work = "uploading" if failure.stage in (Stage.UPLOADING, Stage.PERSISTING) else "generating"
    key = f"{work}/{failure.code}"
    failures = job.failure_counts.get(key, 0) + 1
    counts = {**job.failure_counts, key: failures}
    if not failure.retryable or failures >= budget(failure.code, max_attempts=max_attempts):
        return GiveUp(counts=counts)
    return Requeue(delay_seconds=delay(failure, failures=failures, jitter=jitter), counts=counts)


def defer(job: Job, failure: Failure, *, jitter: float) -> Requeue:
    """A limit held the job back: no failure, but each wait is longer than the last, as each leaves events behind."""
    deferrals = min(job.failure_counts.get(DEFERRALS, 0) + 1, LONGEST_DEFERRALS)
    counts = {**job.failure_counts, DEFERRALS: deferrals}
    return Requeue(delay_seconds=delay(failure, failures=deferrals, jitter=jitter), counts=counts)


def delay(failure: Failure, *, failures: int, jitter: float) -> float:
    """Full jitter over an exponentially growing wait; never earlier than the provider said."""
    first, longest = BACKOFF.get(failure.code, DEFAULT_BACKOFF)
    wait = jitter * min(longest, first * 2.0 ** (failures - 1))
    if failure.retry_after_seconds is None:
        return wait
    named = min(max(failure.retry_after_seconds, 0.0), LONGEST_RETRY_AFTER)
    # Some vendors name no time, or one that has passed, with each refusal: that is no reason to hurry. Other times are
    # spread over a tenth more, so that jobs which were told the same do not return together.
    return named * (1 + jitter / 10) if named else wait
