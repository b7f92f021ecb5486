"""job-service's use cases on a real database, many times over: nothing is committed, so each time begins empty."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from common.postgres import driver_url
from services.job.domain.timeouts import StageTimeouts
from tests.support.job_service.use_cases import JobUseCases, T


@contextmanager
def rehearsal(url: str, limits: StageTimeouts | None = None) -> Iterator[JobUseCases]:
    """Yields use cases with both providers whose transactions are savepoints of one that is rolled back at the end."""
    engine = create_engine(driver_url(url), isolation_level="READ COMMITTED", poolclass=NullPool)
    event.listen(engine, "after_cursor_execute", _stay_connected)
    with engine.connect() as connection, connection.begin() as whole:

        def run(work: Callable[[Connection], T]) -> T:
            with connection.begin_nested():
                return work(connection)

        desk = JobUseCases(run, limits or StageTimeouts())
        desk.register()
        yield desk
        whole.rollback()


def _stay_connected(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
    """A claim bounds how long its transaction may be idle; here that is the whole rehearsal, which may be slow."""
    if "idle_in_transaction_session_timeout" in statement:
        cursor = connection.connection.cursor()
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout TO 0")
        cursor.close()
