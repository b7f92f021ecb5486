"""Each transition as a pure function from a job to the job after it.

Every function raises `IllegalTransition` when the table in `states` does not allow it. Time comes in as `now`, read
from the database under the job's lock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.job.domain import retry_policy
from services.job.domain.failures import Code, Failure, Stage
from services.job.domain.jobs import Job, JobWarning, Lease, ProviderCancel
from services.job.domain.requests import JobRequest
from services.job.domain.states import State, Transition, is_legal


class IllegalTransition(Exception):
    """The job's state does not allow it."""

    def __init__(self, transition: Transition, job: Job, target: State) -> None:
        super().__init__(f"{transition}: {job.state} -> {target} is not allowed for {job.id}.")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A transition that was decided: the job before and after it, and the work that is due now."""

    transition: Transition
    before: Job
    after: Job
    wake: str | None = None


def claim(job: Job, *, worker: str, token: UUID, lease_seconds: float, now: datetime) -> Change:
    """A generator takes a queued job."""
    return _move(
        Transition.CLAIM,
        job,
        State.PROCESSING,
        now=now,
        claim_number=job.claim_number + 1,
        attempt_count=job.attempt_count + 1,
        lease=_lease(worker, token, lease_seconds, now),
        queued_at=None,
        queued_seconds=job.queued_seconds + _seconds_queued(job, now),
        generating_since=now,
        started_at=job.started_at or now,
    )


def begin_call(job: Job, *, now: datetime) -> Change:
    """A provider call is about to leave, or an earlier one is followed."""
    counts = {name: count for name, count in job.failure_counts.items() if name != retry_policy.DEFERRALS}
    return _move(Transition.BEGIN_CALL, job, State.GENERATING, now=now, deferral=None, failure_counts=counts)


def generated(job: Job, *, warnings: tuple[JobWarning, ...], now: datetime) -> Change:
    """Every image that can be had is staged."""
    return _move(
        Transition.GENERATED,
        job,
        State.UPLOADING,
        now=now,
        wake="upload",
        lease=None,
        queued_at=None,
        queued_seconds=job.queued_seconds + _seconds_queued(job, now),
        generating_since=None,
        uploading_since=now,
        run_at=now,
        warnings=warnings,
    )


def claim_upload(job: Job, *, worker: str, token: UUID, lease_seconds: float, now: datetime) -> Change:
    """An uploader takes a job; its state stays."""
    return _move(
        Transition.CLAIM_UPLOAD,
        job,
        State.UPLOADING,
        now=now,
        claim_number=job.claim_number + 1,
        lease=_lease(worker, token, lease_seconds, now),
    )


def stored(job: Job, *, now: datetime) -> Change:
    """Every image is public."""
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
    """A generator's claim ended without its result, and another may follow; an uncounted one gives its attempt back.

    `deferral` is the limit that put it back.
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
    """An uploader's claim ended without its result; the images stay staged, only the copy is tried again."""
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
    """Give up; the failure names the stage that it came from."""
    return _move(
        Transition.FAIL,
        job,
        State.FAILED,
        now=now,
        failure=failure,
        failure_counts=dict(job.failure_counts if counts is None else counts),
    )


def cancel(job: Job, *, wish: ProviderCancel, now: datetime) -> Change:
    """A user ends the job; calls that are open become settle work, unless the wish to cancel them is not needed."""
    wake = "delete" if wish is ProviderCancel.NOT_NEEDED else "settle"
    return _move(Transition.CANCEL, job, State.CANCELED, now=now, wake=wake, provider_cancel=wish)


def user_retry(job: Job, *, resume_upload: bool, consents: bool, now: datetime) -> Change:
    """A user wants a failed job tried again; it goes on at the stage that failed, with budgets anew."""
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
    """What others see of a job changes by what became of a call; its state stays."""
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
    """A new job, as its first event has it."""
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
    """The failure of a claim whose worker vanished; its stage is where the job stood."""
    stage = {State.UPLOADING: Stage.UPLOADING, State.GENERATING: Stage.GENERATING}.get(job.state, Stage.PROCESSING)
    return Failure(
        stage=stage,
        code=Code.TEMPORARY,
        reason="WORKER_LOST",
        message="The worker that held this job stopped answering.",
        retryable=True,
    )


def _move(
    transition: Transition, job: Job, target: State, *, now: datetime, wake: str | None = None, **changes: Any
) -> Change:
    if not is_legal(transition, job.state, target):
        raise IllegalTransition(transition, job, target)
    if target is not job.state and target in (State.COMPLETED, State.FAILED, State.CANCELED):
        changes |= {
            "lease": None,
            "queued_at": None,
            "queued_seconds": job.queued_seconds + _seconds_queued(job, now),
            "generating_since": None,
            "uploading_since": None,
            "completed_at": now,
        }
    after = replace(job, state=target, sequence=job.sequence + 1, updated_at=now, **changes)
    return Change(transition=transition, before=job, after=after, wake=wake)


def _lease(worker: str, token: UUID, seconds: float, now: datetime) -> Lease:
    return Lease(worker=worker, token=token, locked_at=now, expires_at=_after(now, seconds) or now)


def _seconds_queued(job: Job, now: datetime) -> float:
    return max((now - job.queued_at).total_seconds(), 0.0) if job.queued_at else 0.0


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)
