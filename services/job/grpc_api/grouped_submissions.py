"""Submissions that arrive while another one of their tenant is being committed share the next transaction.

A new job counts those before it against the tenant's quota, so that submissions of one tenant run one after the other.
"""

from collections.abc import Sequence

from common.postgres import Database
from services.job.application.batch_submission import BatchResult, JobBatch, create_jobs
from services.job.application.submission import ActionResult, NewJob, create_job
from services.job.domain.refusals import Refusal
from services.job.grpc_api.grouping import GroupedRequests
from services.job.store.pools import Pool


class GroupedSubmissions:
    """Creates jobs, each with the result that it would have alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups = GroupedRequests(
            alone=self._create,
            together=self._create_all,
            first=self._create,
            may_share=lambda first, other: first.quota == other.quota,
        )

    async def submit(self, new: NewJob) -> ActionResult:
        """Returns the created job, or the one of its key. Raises what `create_job` and `Database.run` raise."""
        if new.input_bytes or new.join_within_seconds is not None:
            return await self._create(new)
        return await self._groups.commit(new.tenant, new)

    async def _create(self, new: NewJob) -> ActionResult:
        pool = Pool.INPUTS if new.input_bytes else Pool.WRITES
        return await self._database.run(lambda connection: create_job(connection, new), pool=pool)

    async def _create_all(self, new: Sequence[NewJob]) -> Sequence[ActionResult | Exception]:
        batch = JobBatch(tenant=new[0].tenant, items=list(new), quota=new[0].quota)
        done = await self._database.run(lambda connection: create_jobs(connection, batch), pool=Pool.WRITES)
        return _results(done)


def _results(done: BatchResult) -> list[ActionResult | Exception]:
    return [
        result if isinstance(result, Refusal) else result._replace(rate=None if result.replayed else done.rate)
        for result in done.results
    ]
