"""See what became of the wish to cancel, whoever it was that settled a canceled job's last call."""

from collections.abc import Collection

from sqlalchemy import Connection

from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.provider_cancel import cancel_ended
from services.job.domain.states import State
from services.job.store import calls


def cancels_ended(connection: Connection, locked: Collection[Job]) -> dict[str, ProviderCancel]:
    """What the canceled ones among locked jobs have to tell now, by id; a deleted one tells nothing."""
    canceled = [job for job in locked if job.state is State.CANCELED and job.deleted_at is None]
    ledger = calls.of_jobs(connection, [job.id for job in canceled]) if canceled else {}
    ends = {job.id: cancel_ended(job, ledger.get(job.id, [])) for job in canceled}
    return {job_id: end for job_id, end in ends.items() if end is not None}
