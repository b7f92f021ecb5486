"""A worker hands a job back at shutdown."""

from collections.abc import Sequence

from sqlalchemy import Connection

from services.job.domain import transitions
from services.job.domain.calls import CallOutcome, Phase
from services.job.domain.failures import Refusal
from services.job.domain.jobs import Fence
from services.job.domain.states import AT_GENERATOR, State
from services.job.store import attempts, calls, jobs
from services.job.store import transitions as store


def release_job(connection: Connection, fence: Fence, *, not_sent: Sequence[str]) -> None:
    """Put the job back as if it had not been claimed. Raises `Refusal` LEASE_LOST when it is another's already."""
    job, now = jobs.lock_one(connection, fence.job_id)
    # The ledger first: a call that never left is known not to have, whoever holds the job.
    own = {call.id for call in calls.of_jobs(connection, [fence.job_id])[fence.job_id]
           if call.claim_number == fence.claim_number}  # fmt: skip
    calls.settle(connection, [CallOutcome(call_id=one, phase=Phase.NOT_SENT) for one in not_sent if one in own])
    if job is None or not job.is_held_by(fence):
        return
    if job.state in AT_GENERATOR:
        change = transitions.requeue(job, delay_seconds=0, counts=job.failure_counts, counted=False, now=now)
    elif job.state is State.UPLOADING:
        change = transitions.requeue_upload(job, delay_seconds=0, counts=job.failure_counts, now=now)
    else:
        raise Refusal("LEASE_LOST", f"Job {job.id} is {job.state}.")
    attempts.end(
        connection,
        [attempts.End(job_id=job.id, claim_number=job.claim_number, outcome="released", counted=False)],
    )
    store.write(connection, [change])
