"""Submissions that arrive while another one of their tenant is being committed share the next transaction.

A new job counts those before it against the tenant's quota, so that submissions of one tenant run one after the other.
Alone, each would take as long as the disk takes for a commit.
"""

import asyncio
from contextvars import Context
from dataclasses import dataclass, field

from common.errors import DependencyUnavailable
from common.postgres import Database
from services.job.application.batch_submission import BatchResult, JobBatch, create_jobs
from services.job.application.submission import ActionResult, NewJob, create_job
from services.job.domain.refusals import Refusal
from services.job.store.pools import Pool

#: Submissions of one transaction.
MAX_GROUP = 32


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A submission that waits for a transaction."""

    #: What to create, without images that were sent as bytes.
    new: NewJob
    #: Its result, or why there is none.
    result: "asyncio.Future[ActionResult]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupedSubmissions:
    """Creates jobs, each with the result that it would have alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Waiting submissions of each tenant with a submission that is being committed.
        self._waiting: dict[str, list[_Waiting]] = {}
        self._groups: set[asyncio.Task[None]] = set()

    async def submit(self, new: NewJob) -> ActionResult:
        """Returns the created job, or the one of its key. Raises what `create_job` and `Database.run` raise."""
        if new.input_bytes or new.join_within_seconds is not None:
            return await self._create(new)
        if (waiting := self._waiting.get(new.tenant)) is not None:
            submission = _Waiting(new)
            waiting.append(submission)
            return await submission.result
        self._waiting[new.tenant] = []
        try:
            return await self._create(new)
        finally:
            self._commit_next(new.tenant)

    async def _create(self, new: NewJob) -> ActionResult:
        pool = Pool.INPUTS if new.input_bytes else Pool.WRITES
        return await self._database.run(lambda connection: create_job(connection, new), pool=pool)

    def _commit_next(self, tenant: str) -> None:
        """Commits those that have waited; their callers may have gone."""
        waiting = [each for each in self._waiting.pop(tenant) if not each.result.done()]
        if not waiting:
            return
        quota = waiting[0].new.quota
        group = [each for each in waiting if each.new.quota == quota][:MAX_GROUP]
        self._waiting[tenant] = [each for each in waiting if each not in group]
        # In no caller's context: it belongs to several requests.
        task = asyncio.get_running_loop().create_task(self._commit(tenant, group), context=Context())
        self._groups.add(task)
        task.add_done_callback(self._groups.discard)

    async def _commit(self, tenant: str, group: list[_Waiting]) -> None:
        try:
            batch = JobBatch(tenant=tenant, items=[each.new for each in group], quota=group[0].new.quota)
            done = await self._database.run(lambda connection: create_jobs(connection, batch), pool=Pool.WRITES)
        except DependencyUnavailable as error:
            for each in group:
                _fail(each, error)
        except Exception:  # noqa: BLE001 - one of them may have caused it, so each has its own transaction
            for each in group:
                await self._commit_alone(each)
        else:
            _resolve(group, done)
        finally:
            self._commit_next(tenant)

    async def _commit_alone(self, submission: _Waiting) -> None:
        try:
            result = await self._create(submission.new)
        except Exception as error:  # noqa: BLE001 - it is raised for the caller
            _fail(submission, error)
        else:
            _succeed(submission, result)


def _resolve(group: list[_Waiting], done: BatchResult) -> None:
    for submission, result in zip(group, done.results, strict=True):
        if isinstance(result, Refusal):
            _fail(submission, result)
        else:
            _succeed(submission, result._replace(rate=None if result.replayed else done.rate))


def _succeed(submission: _Waiting, result: ActionResult) -> None:
    if not submission.result.done():
        submission.result.set_result(result)


def _fail(submission: _Waiting, error: Exception) -> None:
    if not submission.result.done():
        submission.result.set_exception(error)
