"""Finds the result of canceling at the provider once a canceled job's last call has ended, whichever way it ended."""

from collections.abc import Collection

from common.sql import Connection
from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.provider_cancel import cancel_ended
from services.job.domain.states import State
from services.job.store import calls


def cancels_ended(connection: Connection, locked: Collection[Job]) -> dict[str, ProviderCancel]:
    """Returns new results of canceled jobs by id; deleted jobs and those without a change are left out."""
    canceled = [job for job in locked if job.state is State.CANCELED and job.deleted_at is None]
    ledger = calls.of_jobs(connection, [job.id for job in canceled]) if canceled else {}
    ends = {job.id: cancel_ended(job, ledger.get(job.id, [])) for job in canceled}
    return {job_id: end for job_id, end in ends.items() if end is not None}
