"""job-service's use cases on a real database, many times over: nothing is committed, so each time begins empty."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import TextClause, create_engine
from sqlalchemy.pool import NullPool

from common.postgres import driver_url
from common.prepared import PLAN_OPTIONS
from common.sql import Connection, ReadResult, text
from services.job.domain.timeouts import StageTimeouts
from tests.support.job_service.use_cases import JobUseCases, T


class PatientConnection(Connection):
    """A claim bounds how long its transaction may be idle; here that is the whole rehearsal, which may be slow."""

    def execute(self, statement: TextClause, parameters: Mapping[str, Any] | None = None) -> ReadResult:
        """Runs a statement, and lifts the bound that it may have set."""
        result = super().execute(statement, parameters)
        if "idle_in_transaction_session_timeout" in statement.text:
            super().execute(text("SET LOCAL idle_in_transaction_session_timeout TO 0"))
        return result


@contextmanager
def rehearsal(url: str, limits: StageTimeouts | None = None) -> Iterator[JobUseCases]:
    """Yields use cases with both providers whose transactions are savepoints of one that is rolled back at the end."""
    options = {"options": PLAN_OPTIONS}
    engine = create_engine(driver_url(url), isolation_level="READ COMMITTED", poolclass=NullPool, connect_args=options)
    with engine.connect() as transaction, transaction.begin() as whole:

        def run(work: Callable[[Connection], T]) -> T:
            with transaction.begin_nested():
                return work(PatientConnection(transaction))

        desk = JobUseCases(run, limits or StageTimeouts())
        desk.register()
        yield desk
        whole.rollback()
