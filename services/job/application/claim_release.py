"""A worker hands a job back before its stage ended."""

from datetime import datetime

from sqlalchemy import Connection

from services.job.application import ledger, provider_limits, spending
from services.job.domain import transitions
from services.job.domain.calls import Known
from services.job.domain.jobs import Fence, Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.transitions import Change
from services.job.store import attempts, job_writer, jobs


def release_job(connection: Connection, fence: Fence, known: Known) -> bool:
    """Put the job back as if it had not been claimed, once the ledger knows what its worker knows.

    A lease that is another's already moves nothing. Tells whether jobs may be waiting for a place that a call has left.
    """
    job, now = jobs.lock_one(connection, fence.job_id)
    if job is None:
        return False
    before = job_writer.snapshots(connection, [job])
    settled = ledger.settle(connection, [(job.id, ledger.own(connection, fence, known))], {job.id: job})
    if job.is_held_by(fence):
        change = _put_back(job, now=now)
        attempts.end(
            connection,
            [attempts.End(job_id=job.id, claim_number=job.claim_number, outcome="released", counted=False)],
        )
        job_writer.write(connection, [change])
    else:
        job_writer.write(
            connection, ledger.news(connection, [ledger.LateReport(job=job, known=known)], before, settled, now=now)
        )
    spending.settle(connection, settled)
    provider_limits.record_outcomes(connection, known.calls, settled)
    return provider_limits.frees_slot(connection, settled)


def _put_back(job: Job, *, now: datetime) -> Change:
    if job.state in AT_GENERATOR:
        return transitions.requeue(job, delay_seconds=0, counts=job.failure_counts, counted=False, now=now)
    if job.state is State.UPLOADING:
        return transitions.requeue_upload(job, delay_seconds=0, counts=job.failure_counts, now=now)
    raise Refusal("LEASE_LOST", f"Job {job.id} is {job.state}.")
