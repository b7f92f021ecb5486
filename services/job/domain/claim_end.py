"""Decides what the end of a claim means for its job: the stage is done, another try, or a failure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from calotype.error_reasons import Code, Reason

from services.job.domain import retry_policy, transitions
from services.job.domain.calls import ProviderCall, may_still_deliver
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job, JobWarning
from services.job.domain.states import State
from services.job.domain.transitions import Change


def close_generating(job: Job, *, staged: Collection[int], warnings: tuple[JobWarning, ...], now: datetime) -> Change:
    """Ends the generating stage: the job is uploaded with at least one image, and fails without any."""
    missing = sorted(set(range(job.image_count)) - set(staged))
    if not staged:
        no_images = Failure(
            stage=Stage.PERSISTING,
            code=Code.PERMANENT,
            reason=Reason.RESULT_MISMATCH,
            message="The generator reported success, but no image was staged.",
            retryable=False,
        )
        return transitions.fail(job, no_images, now=now)
    return transitions.generated(job, warnings=_one_per_index(missing, warnings), now=now)


def end_of_claim(
    job: Job,
    failure: Failure,
    *,
    calls: Iterable[ProviderCall],
    staged: Collection[int],
    deferred: bool,
    max_attempts: int,
    jitter: float,
    now: datetime,
) -> Change:
    """Decides after a claim that failed: requeue within the retry budget, else give up.

    `deferred` says that a provider's limit held the job back; `jitter` is a random number in [0, 1).
    """
    if job.state is State.UPLOADING:
        change = _end_of_upload(job, failure, max_attempts=max_attempts, jitter=jitter, now=now)
    else:
        change = _end_of_generating(
            job,
            failure,
            calls=calls,
            staged=staged,
            deferred=deferred,
            max_attempts=max_attempts,
            jitter=jitter,
            now=now,
        )
    return replace(change, cause=failure)


def _end_of_generating(
    job: Job,
    failure: Failure,
    *,
    calls: Iterable[ProviderCall],
    staged: Collection[int],
    deferred: bool,
    max_attempts: int,
    jitter: float,
    now: datetime,
) -> Change:
    if deferred:
        wait = retry_policy.defer(job, failure, jitter=jitter)
        return transitions.requeue(
            job,
            delay_seconds=wait.delay_seconds,
            counts=wait.counts,
            counted=False,
            deferral=failure,
            now=now,
        )
    decision = retry_policy.decide(job, failure, max_attempts=max_attempts, jitter=jitter)
    if isinstance(decision, retry_policy.Requeue):
        # A paid image that can still be fetched is fetched, even after the deadline.
        is_lost = failure.reason == Reason.RESULT_LOST
        is_paid_for = not is_lost and may_still_deliver(calls, set(range(job.image_count)) - set(staged))
        if is_paid_for or not _is_out_of_time(job, decision.delay_seconds, now):
            return transitions.requeue(job, delay_seconds=decision.delay_seconds, counts=decision.counts, now=now)
        failure = _out_of_time(failure)
    return give_up(job, failure, staged=staged, counts=decision.counts, now=now)


def give_up(
    job: Job,
    failure: Failure,
    *,
    staged: Collection[int],
    counts: Mapping[str, int] | None = None,
    now: datetime,
) -> Change:
    """Ends the generating stage for good, because of a spent retry budget, a deadline or a limit.

    Staged images are kept, with a warning for each missing one; without any the job fails. A call that is still open
    is followed as settle work, and its images are staged for a retry by the user.
    """
    if not staged:
        return transitions.fail(job, failure, counts=counts, now=now)
    missing = sorted(set(range(job.image_count)) - set(staged))
    return transitions.generated(job, warnings=tuple(_missing(index, failure) for index in missing), now=now)


def _end_of_upload(job: Job, failure: Failure, *, max_attempts: int, jitter: float, now: datetime) -> Change:
    decision = retry_policy.decide(job, failure, max_attempts=max_attempts, jitter=jitter)
    if isinstance(decision, retry_policy.Requeue):
        return transitions.requeue_upload(job, delay_seconds=decision.delay_seconds, counts=decision.counts, now=now)
    return transitions.fail(job, failure, counts=decision.counts, now=now)


def _is_out_of_time(job: Job, delay_seconds: float, now: datetime) -> bool:
    """Whether another try would begin after the job's deadline."""
    return job.finish_by is not None and job.finish_by <= now + timedelta(seconds=delay_seconds)


def _out_of_time(failure: Failure) -> Failure:
    message = "The job could not be finished before its deadline."
    if failure.reason != Reason.DEADLINE_EXCEEDED:
        message += f" Before that: {failure.message}"
    return replace(
        failure,
        code=Code.TIMEOUT,
        reason=Reason.DEADLINE_EXCEEDED,
        message=message,
        retryable=True,
        retry_after_seconds=None,
    )


def images_to_retry(job: Job, *, staged: Collection[int]) -> frozenset[int]:
    """Returns the indexes of images that a user's retry of a failed job generates.

    Empty when its upload failed: the generating stage had ended by then, and could not obtain more than is staged.
    """
    if staged and job.failure is not None and job.failure.stage is Stage.UPLOADING:
        return frozenset()
    return frozenset(range(job.image_count)) - frozenset(staged)


def _one_per_index(missing: list[int], warnings: tuple[JobWarning, ...]) -> tuple[JobWarning, ...]:
    named = {warning.image_index for warning in warnings}
    unnamed = tuple(
        JobWarning(reason=Reason.RESULT_LOST, message=f"Image {index} could not be obtained.", image_index=index)
        for index in missing
        if index not in named
    )
    return warnings + unnamed


def _missing(index: int, failure: Failure) -> JobWarning:
    return JobWarning(reason=failure.reason, message=f"Image {index} is missing: {failure.message}", image_index=index)
