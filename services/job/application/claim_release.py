"""Releases jobs that a worker returns before their stage ended."""

from datetime import datetime

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application import ledger, provider_limits, spending
from services.job.domain import transitions
from services.job.domain.calls import WorkerReport
from services.job.domain.jobs import Fence, Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.transitions import Change
from services.job.store import attempts, job_writer, jobs


def release_job(connection: Connection, fence: Fence, report: WorkerReport) -> bool:
    """Puts a job back as if it had not been claimed, after its worker's report was written to the ledger.

    A lease that is no longer held changes nothing but the ledger. Returns whether a provider's slot was freed, for
    which other jobs may wait.
    """
    job, now = jobs.lock_job(connection, fence.job_id)
    if job is None:
        return False
    before = job_writer.snapshots(connection, [job])
    settled = ledger.settle(connection, [(job.id, ledger.within_claim(connection, fence, report))], {job.id: job}).calls
    if job.is_held_by(fence):
        change = _put_back(job, now=now)
        attempts.end(
            connection,
            [attempts.End(job_id=job.id, claim_number=job.claim_number, outcome="released", counted=False)],
        )
        job_writer.write(connection, [change])
    else:
        late = ledger.LateReport(job=job, report=report)
        job_writer.write(connection, ledger.visible_changes(connection, [late], before, settled, now=now))
    spending.settle(connection, settled)
    provider_limits.record_outcomes(connection, report.calls, settled)
    return provider_limits.frees_slot(settled)


def _put_back(job: Job, *, now: datetime) -> Change:
    if job.state in AT_GENERATOR:
        return transitions.requeue(job, delay_seconds=0, counts=job.failure_counts, counted=False, now=now)
    if job.state is State.UPLOADING:
        return transitions.requeue_upload(job, delay_seconds=0, counts=job.failure_counts, now=now)
    raise Refusal(Reason.LEASE_LOST, f"Job {job.id} is {job.state}.")
