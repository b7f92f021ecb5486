"""job-service's use cases on a real database, many times over: nothing is committed, so each time begins empty."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sqlalchemy.pool import NullPool

from common.postgres import open_pool
from common.sql import Connection
from services.job.domain.timeouts import StageTimeouts
from services.job.store import claim_locks
from tests.support.job_service.use_cases import JobUseCases, T


@contextmanager
def rehearsal(url: str, limits: StageTimeouts | None = None) -> Iterator[JobUseCases]:
    """Yields use cases with both providers whose transactions are savepoints of one that is rolled back at the end."""
    pooled = open_pool(url, poolclass=NullPool).raw_connection()
    whole = Connection(pooled)

    def run(work: Callable[[Connection], T]) -> T:
        # What follows a commit belongs to a unit of work.
        whole.info.clear()
        with whole.begin_nested():
            return work(whole)

    try:
        desk = JobUseCases(run, limits or StageTimeouts())
        # The transaction lasts for the whole rehearsal, which may be slow.
        with patch.object(claim_locks, "IDLE_MS", 0):
            desk.register()
            yield desk
    finally:
        whole.rollback()
        pooled.close()
