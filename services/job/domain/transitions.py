"""Each transition as a pure function from a job to the changed job.

Every function raises `IllegalTransition` when the table in `states` does not allow it. `now` is the database's time,
read while the job is locked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from calotype.error_reasons import Code, Reason

from services.job.domain import retry_policy
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job, JobWarning, Lease, ProviderCancel
from services.job.domain.requests import JobRequest
from services.job.domain.states import FINAL, State, Transition, is_legal


class IllegalTransition(Exception):
    """The job's state does not allow the transition."""

    def __init__(self, transition: Transition, job: Job, target: State) -> None:
        super().__init__(f"{transition}: {job.state} -> {target} is not allowed for {job.id}.")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A decided transition, to be written by `services.job.store.job_writer`."""

    #: Its type.
    transition: Transition
    #: The job that was decided upon; its state and sequence guard the write.
    before: Job
    #: The changed job.
    after: Job
    #: Wake-up to publish: `generate`, `upload`, `settle` or `delete`; None for none.
    wake: str | None = None
    #: Failure that ended the claim, also when the job is tried again; None without one. For logs alone.
    cause: Failure | None = None


def claim(
    job: Job, *, worker: str, token: UUID, lease_seconds: float, held_until: datetime | None = None, now: datetime
) -> Change:
    """Claims a queued job for a generator; its time in the queue counts from `held_until`, the end of a pause."""
    return _move(
        Transition.CLAIM,
        job,
        State.PROCESSING,
        now=now,
        claim_number=job.claim_number + 1,
        attempt_count=job.attempt_count + 1,
        lease=_lease(worker, token, lease_seconds, now),
        queued_at=None,
        queued_seconds=job.queued_seconds + job.seconds_queued(now, held_until=held_until),
        generating_since=now,
        started_at=job.started_at or now,
    )


def begin_call(job: Job, *, now: datetime) -> Change:
    """Records that a worker begins a provider call, or follows an earlier one."""
    counts = {name: count for name, count in job.failure_counts.items() if name != retry_policy.DEFERRALS}
    return _move(Transition.BEGIN_CALL, job, State.GENERATING, now=now, deferral=None, failure_counts=counts)


def generated(job: Job, *, warnings: tuple[JobWarning, ...], now: datetime) -> Change:
    """Moves a job to the upload stage: every image that could be obtained is staged."""
    return _move(
        Transition.GENERATED,
        job,
        State.UPLOADING,
        now=now,
        wake="upload",
        lease=None,
        queued_at=None,
        queued_seconds=job.queued_seconds + job.seconds_queued(now),
        generating_since=None,
        uploading_since=now,
        run_at=now,
        warnings=warnings,
    )


def claim_upload(job: Job, *, worker: str, token: UUID, lease_seconds: float, now: datetime) -> Change:
    """Claims a job for an uploader; its state stays."""
    return _move(
        Transition.CLAIM_UPLOAD,
        job,
        State.UPLOADING,
        now=now,
        claim_number=job.claim_number + 1,
        lease=_lease(worker, token, lease_seconds, now),
    )


def stored(job: Job, *, now: datetime) -> Change:
    """Completes a job: every image is public."""
    return _move(Transition.STORED, job, State.COMPLETED, now=now, wake="delete")


def requeue(
    job: Job,
    *,
    delay_seconds: float,
    counts: Mapping[str, int],
    counted: bool = True,
    deferral: Failure | None = None,
    now: datetime,
) -> Change:
    """Puts a job back into the queue after a generator's claim without a result.

    With `counted` False the attempt is subtracted again. `deferral` is the failure by which a provider's limit put the
    job back; None keeps the earlier one.
    """
    return _move(
        Transition.REQUEUE,
        job,
        State.QUEUED,
        now=now,
        wake="generate" if delay_seconds <= 0 else None,
        lease=None,
        generating_since=None,
        queued_at=now,
        run_at=now + timedelta(seconds=delay_seconds),
        failure_counts=dict(counts),
        attempt_count=job.attempt_count if counted else max(job.attempt_count - 1, 0),
        deferral=deferral or job.deferral,
    )


def requeue_upload(job: Job, *, delay_seconds: float, counts: Mapping[str, int], now: datetime) -> Change:
    """Ends an uploader's claim without a result; the images stay staged, and only the copy is tried again."""
    return _move(
        Transition.REQUEUE_UPLOAD,
        job,
        State.UPLOADING,
        now=now,
        wake="upload" if delay_seconds <= 0 else None,
        lease=None,
        run_at=now + timedelta(seconds=delay_seconds),
        failure_counts=dict(counts),
    )


def fail(job: Job, failure: Failure, *, counts: Mapping[str, int] | None = None, now: datetime) -> Change:
    """Fails a job; the failure names the stage in which it was caught. `counts` replace `failure_counts`."""
    return _move(
        Transition.FAIL,
        job,
        State.FAILED,
        now=now,
        failure=failure,
        failure_counts=dict(job.failure_counts if counts is None else counts),
    )


def cancel(job: Job, *, provider_cancel: ProviderCancel, now: datetime) -> Change:
    """Cancels a job; unless `provider_cancel` is NOT_NEEDED, its open calls become settle work."""
    wake = "delete" if provider_cancel is ProviderCancel.NOT_NEEDED else "settle"
    return _move(Transition.CANCEL, job, State.CANCELED, now=now, wake=wake, provider_cancel=provider_cancel)


def user_retry(job: Job, *, resume_upload: bool, consents: bool, now: datetime) -> Change:
    """Retries a failed job for a user, from the stage that failed, with reset retry budgets and no deadlines."""
    since: dict[str, Any] = {"uploading_since": now} if resume_upload else {"queued_at": now, "queued_seconds": 0.0}
    return _move(
        Transition.USER_RETRY,
        job,
        State.UPLOADING if resume_upload else State.QUEUED,
        now=now,
        wake="upload" if resume_upload else "generate",
        retry_count=job.retry_count + 1,
        failure=None,
        failure_counts={},
        user_consents=consents,
        consented_at=now if consents else None,
        deferral=None,
        start_by=None,
        finish_by=None,
        started_at=None,
        completed_at=None,
        run_at=now,
        **since,
    )


def settle(job: Job, *, outcome: ProviderCancel | None, now: datetime) -> Change:
    """Records that the end of a call changed what clients see of the job; its state stays.

    `outcome` is the result of canceling at the provider; it counts only for a job that has one.
    """
    if job.provider_cancel is None or outcome is None:
        return _move(Transition.SETTLE, job, job.state, now=now)
    return _move(Transition.SETTLE, job, job.state, now=now, provider_cancel=outcome)


def submit(
    *,
    job_id: str,
    tenant: str,
    request: JobRequest,
    provider: str,
    model: str,
    traceparent: str | None,
    now: datetime,
) -> Job:
    """Returns a new job at sequence 1."""
    return Job(
        id=job_id,
        tenant=tenant,
        state=State.QUEUED,
        sequence=1,
        priority=int(request.priority),
        provider=provider,
        model=model,
        fallback=request.fallback,
        image_count=request.n,
        request=request,
        metadata=request.metadata,
        end_user=request.end_user,
        traceparent=traceparent,
        run_at=now,
        start_by=_after(now, request.start_within_seconds),
        finish_by=_after(now, request.finish_within_seconds),
        queued_at=now,
        created_at=now,
        updated_at=now,
    )


def lease_ran_out(job: Job) -> Failure:
    """Returns the failure of a claim whose lease expired; its stage is that of the job's state."""
    stage = {State.UPLOADING: Stage.UPLOADING, State.GENERATING: Stage.GENERATING}.get(job.state, Stage.PROCESSING)
    return Failure(
        stage=stage,
        code=Code.TEMPORARY,
        reason=Reason.WORKER_LOST,
        message="The worker that held this job stopped responding.",
        retryable=True,
    )


def _move(
    transition: Transition, job: Job, target: State, *, now: datetime, wake: str | None = None, **changes: Any
) -> Change:
    if not is_legal(transition, job.state, target):
        raise IllegalTransition(transition, job, target)
    if target is not job.state and target in FINAL:
        changes |= {
            "lease": None,
            "queued_at": None,
            "queued_seconds": job.queued_seconds + job.seconds_queued(now),
            "generating_since": None,
            "uploading_since": None,
            "completed_at": now,
        }
    after = replace(job, state=target, sequence=job.sequence + 1, updated_at=now, **changes)
    return Change(transition=transition, before=job, after=after, wake=wake)


def _lease(worker: str, token: UUID, seconds: float, now: datetime) -> Lease:
    return Lease(worker=worker, token=token, locked_at=now, expires_at=_after(now, seconds) or now)


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)
