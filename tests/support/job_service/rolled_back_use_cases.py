"""job-service's use cases on a real database, many times over: nothing is committed, so each time begins empty."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.pool import NullPool

from common.postgres import open_pool
from common.sql import Connection, ReadResult, text
from services.job.domain.timeouts import StageTimeouts
from tests.support.job_service.use_cases import JobUseCases, T


class PatientConnection(Connection):
    """A claim bounds how long its transaction may be idle; here that is the whole rehearsal, which may be slow."""

    def execute(
        self, statement: TextClause, parameters: Mapping[str, Any] | None = None, *, is_prepared: bool = True
    ) -> ReadResult:
        """Runs a statement, and lifts the bound that it may have set."""
        result = super().execute(statement, parameters, is_prepared=is_prepared)
        if "idle_in_transaction_session_timeout" in statement.text:
            super().execute(text("SET LOCAL idle_in_transaction_session_timeout TO 0"))
        return result


@contextmanager
def rehearsal(url: str, limits: StageTimeouts | None = None) -> Iterator[JobUseCases]:
    """Yields use cases with both providers whose transactions are savepoints of one that is rolled back at the end."""
    pooled = open_pool(url, poolclass=NullPool).raw_connection()
    whole = PatientConnection(pooled)

    def run(work: Callable[[Connection], T]) -> T:
        # What follows a commit belongs to a unit of work.
        whole.info.clear()
        with whole.begin_nested():
            return work(whole)

    try:
        desk = JobUseCases(run, limits or StageTimeouts())
        desk.register()
        yield desk
    finally:
        whole.rollback()
        pooled.close()
