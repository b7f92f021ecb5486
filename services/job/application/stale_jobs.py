"""Rules of the stale-job monitor: what to do with jobs that no worker or deadline moves in time.

Each candidate is noted with its sequence, and judged again while it is locked: a job that changed meanwhile is left
alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from calotype.error_reasons import Code, Reason

from common.sql import Connection
from services.job import counters
from services.job.domain import claim_end, retry_policy, transitions
from services.job.domain.calls import ProviderCall, has_open_calls, may_still_deliver
from services.job.domain.circuit_breakers import MAX_AUTH_OUTAGE_SECONDS, Breaker
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Artifact, Job
from services.job.domain.routing import blocking_breaker
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, breakers, calls, job_writer, jobs, pauses, providers, stale

#: Key in `Job.failure_counts`: rescues of the job while a call was open.
RECOVERIES = "recoveries"
#: Jobs of one rule that are judged together.
PAGE = 200


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A job that looked stale."""

    #: Id of the job.
    job_id: str
    #: `Job.sequence` at that time.
    sequence: int


def candidates(connection: Connection, limits: StageTimeouts, *, limit: int = PAGE) -> list[Candidate]:
    """Returns jobs that break a rule now, at most `limit` of each rule."""
    return [
        Candidate(job_id=job_id, sequence=sequence) for job_id, sequence in stale.find(connection, limits, limit=limit)
    ]


def rescue(connection: Connection, noted: Sequence[Candidate], *, limits: StageTimeouts) -> list[Change]:
    """Acts on candidates that are still stale, unchanged and not locked; returns the changes."""
    seen = {candidate.job_id: candidate.sequence for candidate in noted}
    free = stale.lock_free(connection, list(seen))
    now = jobs.clock(connection)
    ids = [job.id for job in free]
    ledger, staged = calls.of_jobs(connection, ids), artifacts.of_jobs(connection, ids)
    catalogue, open_breakers = providers.catalogue(connection), breakers.all_breakers(connection)
    known_pauses = pauses.read(connection)
    changes: list[Change] = []
    ends: list[attempts.End] = []
    for job in free:
        if job.sequence != seen[job.id]:
            continue
        blocked_by = blocking_breaker(job, catalogue, open_breakers)
        change = judge(
            job,
            calls=ledger[job.id],
            staged=staged[job.id],
            blocked_by=blocked_by,
            held_until=known_pauses.held_until(job),
            limits=limits,
            now=now,
        )
        if change is not None:
            changes.append(change)
            if job.lease is not None:
                ends.append(_end(job, change))
    attempts.end(connection, ends)
    job_writer.write(connection, changes)
    lost = sum(end.failure is not None and end.failure.reason == Reason.WORKER_LOST for end in ends)
    counters.leases_lost(connection, lost)
    return changes


def judge(
    job: Job,
    *,
    calls: Sequence[ProviderCall],
    staged: Sequence[Artifact],
    blocked_by: Breaker | None,
    held_until: datetime | None = None,
    limits: StageTimeouts,
    now: datetime,
) -> Change | None:
    """Returns the change that the rules demand; None for a job that is not stale.

    `blocked_by` is the open circuit breaker that the job waits for, if any; `held_until` the end of the last pause that
    held it: the limits of waiting, but not the job's own deadlines, count from there.
    """
    indexes = {image.image_index for image in staged}
    is_paid_for = may_still_deliver(calls, set(range(job.image_count)) - indexes)
    late = _waited_too_long(job, blocked_by, limits, now, held_until=held_until, is_paid_for=is_paid_for)
    if late is not None:
        return claim_end.give_up(job, late, staged=indexes, now=now)
    expired = job.lease is not None and job.lease.expires_at <= now
    if job.state in AT_GENERATOR and (expired or _claim_is_too_long(job, limits, now)):
        failure = transitions.lease_ran_out(job) if expired else _too_long(job)
        return _end_generating(job, failure, calls=calls, staged=indexes, limits=limits, now=now)
    if job.state is State.UPLOADING:
        return _judge_upload(job, expired=expired, limits=limits, now=now)
    return None


def _end_generating(
    job: Job, failure: Failure, *, calls: Sequence[ProviderCall], staged: set[int], limits: StageTimeouts, now: datetime
) -> Change:
    recoveries = job.failure_counts.get(RECOVERIES, 0)
    open_call = has_open_calls(calls)
    if open_call and recoveries < retry_policy.MAX_RECOVERIES:
        # The next claim decides about the open call; the rescue itself counts as no failure.
        counts: Mapping[str, int] = {**job.failure_counts, RECOVERIES: recoveries + 1}
        return replace(transitions.requeue(job, delay_seconds=0, counts=counts, now=now), cause=failure)
    if not open_call and staged == set(range(job.image_count)):
        return transitions.generated(job, warnings=(), now=now)
    return _end_of_claim(job, failure, calls=calls, staged=staged, limits=limits, now=now)


def _judge_upload(job: Job, *, expired: bool, limits: StageTimeouts, now: datetime) -> Change | None:
    """Counts an upload claim that expired or takes too long; waiting for an uploader has its own limit."""
    if expired or (job.lease is not None and _is_over(job.lease.locked_at, limits.max_uploading_seconds, limits, now)):
        failure = transitions.lease_ran_out(job) if expired else _too_long(job)
        return _end_of_claim(job, failure, calls=(), staged=set(), limits=limits, now=now)
    waiting_since = job.uploading_since or job.run_at
    if job.lease is None and now - waiting_since > timedelta(seconds=limits.max_queued_seconds):
        return transitions.fail(job, _too_long(job), now=now)
    return None


def _end_of_claim(
    job: Job, failure: Failure, *, calls: Sequence[ProviderCall], staged: set[int], limits: StageTimeouts, now: datetime
) -> Change:
    return claim_end.end_of_claim(
        job,
        failure,
        calls=calls,
        staged=staged,
        deferred=False,
        max_attempts=limits.max_attempts,
        jitter=0.0,
        now=now,
    )


def _claim_is_too_long(job: Job, limits: StageTimeouts, now: datetime) -> bool:
    longest = limits.max_generating_seconds if job.state is State.GENERATING else limits.max_processing_seconds
    return job.generating_since is not None and _is_over(job.generating_since, longest, limits, now)


def _is_over(since: datetime, longest: float, limits: StageTimeouts, now: datetime) -> bool:
    """Whether a worker has used its time, and the duration of one more lease to stop by itself."""
    return now - since > timedelta(seconds=longest + limits.lease_seconds)


def _too_long(job: Job) -> Failure:
    return Failure(
        stage=Stage(job.state),
        code=Code.TIMEOUT,
        reason=Reason.STAGE_TIMEOUT,
        message=f"The job was {job.state} for longer than the limit of this stage.",
        retryable=True,
    )


def _waited_too_long(
    job: Job,
    blocked_by: Breaker | None,
    limits: StageTimeouts,
    now: datetime,
    *,
    held_until: datetime | None,
    is_paid_for: bool,
) -> Failure | None:
    if job.state is not State.QUEUED:
        return None
    waited = job.queued_seconds + job.seconds_queued(now, held_until=held_until)
    if is_paid_for and waited <= limits.max_queued_seconds:
        # The next claim fetches a paid result, even after the job's deadlines.
        return None
    if blocked_by is not None and _is_auth_outage_too_long(job, blocked_by, held_until, now):
        return blocked_by.cause()
    if not _is_past_a_deadline(job, now) and waited <= limits.max_queued_seconds:
        return None
    if (cause := blocked_by.cause() if blocked_by is not None else job.deferral) is not None:
        return replace(cause, stage=Stage.QUEUED, retryable=True, retry_after_seconds=None)
    return Failure(
        stage=Stage.QUEUED,
        code=Code.TIMEOUT,
        reason=Reason.DEADLINE_EXCEEDED,
        message="The job waited longer than its deadline or the limit allows.",
        retryable=True,
    )


def _is_auth_outage_too_long(job: Job, blocked_by: Breaker, held_until: datetime | None, now: datetime) -> bool:
    """Whether the provider has refused the credential for too long to wait for it."""
    if blocked_by.code is not Code.AUTH_ERROR or job.queued_at is None or blocked_by.opened_at is None:
        return False
    since = max(job.queued_at, blocked_by.opened_at, held_until or job.queued_at)
    return (now - since).total_seconds() > MAX_AUTH_OUTAGE_SECONDS


def _is_past_a_deadline(job: Job, now: datetime) -> bool:
    """Whether a deadline passed that the job's submitter set; a pause does not move it."""
    return (job.start_by is not None and job.started_at is None and job.start_by <= now) or (
        job.finish_by is not None and job.finish_by <= now
    )


def _end(job: Job, change: Change) -> attempts.End:
    failed = change.after.state is State.FAILED
    return attempts.End(
        job_id=job.id,
        claim_number=job.claim_number,
        outcome="failed" if failed else "rescued",
        failure=change.after.failure or transitions.lease_ran_out(job),
        counted=job.state is not State.UPLOADING,
    )
