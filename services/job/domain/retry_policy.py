"""Automatic retries: how many per failure code, and after which wait."""

from dataclasses import dataclass

from calotype.error_reasons import Code

from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job

#: First and longest wait in seconds; each further failure doubles the wait.
BACKOFF = {Code.RATE_LIMIT: (5.0, 300.0)}
#: The same for all other codes.
DEFAULT_BACKOFF = (2.0, 60.0)
#: Failures of code RATE_LIMIT after which the job fails.
RATE_LIMIT_ATTEMPTS = 10
#: Failures of code UNKNOWN after which the job fails.
UNKNOWN_ATTEMPTS = 2
#: Longest wait in seconds that a provider can request.
LONGEST_RETRY_AFTER = 3600.0
#: Rescues of a job with an open call that count as no failure: the next claim decides about the call.
MAX_RECOVERIES = 5
#: Key in `Job.failure_counts`: times that a limit put the job back since its last call.
DEFERRALS = "deferrals"
#: Deferrals after which the wait stops growing: a slot may become free at any time.
LONGEST_DEFERRALS = 4


@dataclass(frozen=True, kw_only=True)
class Requeue:
    """Decision to try again."""

    #: Wait before the next claim.
    delay_seconds: float
    #: `Job.failure_counts` with this failure.
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Decision to fail the job: its budget is spent, or another try would not help."""

    #: `Job.failure_counts` with this failure.
    counts: dict[str, int]


def budget(code: Code, *, max_attempts: int) -> int:
    """Returns the number of failures of a code after which the job fails."""
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
    """Counts a failure and decides what follows; `jitter` is a random number in [0, 1)."""
    work = "uploading" if failure.stage in (Stage.UPLOADING, Stage.PERSISTING) else "generating"
    key = f"{work}/{failure.code}"
    failures = job.failure_counts.get(key, 0) + 1
    counts = {**job.failure_counts, key: failures}
    if not failure.retryable or failures >= budget(failure.code, max_attempts=max_attempts):
        return GiveUp(counts=counts)
    return Requeue(delay_seconds=delay(failure, failures=failures, jitter=jitter), counts=counts)


def defer(job: Job, failure: Failure, *, jitter: float) -> Requeue:
    """Returns the wait after a limit held the job back: no failure, but each wait is longer, as each writes events."""
    deferrals = min(job.failure_counts.get(DEFERRALS, 0) + 1, LONGEST_DEFERRALS)
    counts = {**job.failure_counts, DEFERRALS: deferrals}
    return Requeue(delay_seconds=delay(failure, failures=deferrals, jitter=jitter), counts=counts)


def delay(failure: Failure, *, failures: int, jitter: float) -> float:
    """Returns the wait in seconds: full jitter over exponential backoff, never shorter than the provider requested."""
    first, longest = BACKOFF.get(failure.code, DEFAULT_BACKOFF)
    wait = jitter * min(longest, first * 2.0 ** (failures - 1))
    if failure.retry_after_seconds is None:
        return wait
    requested = min(max(failure.retry_after_seconds, 0.0), LONGEST_RETRY_AFTER)
    # Some providers send zero, or a time that has passed, with each refusal: backoff applies then. Other waits are
    # spread over a tenth more, so that jobs with equal waits do not return together.
    return requested * (1 + jitter / 10) if requested else wait
