"""PostgreSQL: whole units of work, each one transaction in one thread of a bounded pool."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common.errors import DependencyUnavailable

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
LOCK_NOT_AVAILABLE = "55P03"
_RETRYABLE = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
#: SQLSTATEs whose words may quote a value.
_ABOUT_VALUES = ("22", "23", "P0")
#: SQLSTATEs that pass by themselves: connections that break, too few resources, an operator's intervention, a standby
#: that takes no writes, and waits that one of our own timeouts ended.
_AWAY = ("08", "53", "57", "25006", "55P03", "25P03")


class DatabaseUnavailable(DependencyUnavailable):
    """The database cannot be reached, does not answer in time, or every connection is busy for too long."""


class LockTimeout(DatabaseUnavailable):
    """Somebody else holds a row for longer than is waited for; the database itself is well."""


def driver_url(url: str) -> str:
    """The URL with its driver named: SQLAlchemy would choose another for a bare `postgresql://`."""
    return make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


class Database:
    """A pool of connections with server-side limits on whatever runs in them (milliseconds).

    Some connections may be set aside as pools of their own: no kind of work can hold what another needs.
    """

    def __init__(
        self,
        url: str,
        *,
        application: str,
        pool_size: int = 8,
        pools: Mapping[str, int] | None = None,
        statement_timeout_ms: int = 10_000,
        lock_timeout_ms: int = 5_000,
        queue_timeout_seconds: float = 5.0,
    ) -> None:
        settings = {
            "statement_timeout": statement_timeout_ms,
            "lock_timeout": lock_timeout_ms,
            "idle_in_transaction_session_timeout": statement_timeout_ms,
            "timezone": "UTC",
        }
        self._engine = create_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=queue_timeout_seconds,
            isolation_level="READ COMMITTED",
            # Errors are logged, and values are prompts.
            hide_parameters=True,
            connect_args={
                "application_name": application,
                "connect_timeout": 3,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            },
        )
        self._threads = ThreadPoolExecutor(max_workers=pool_size, thread_name_prefix="database")
        kept = pools or {}
        self._pools = {pool: asyncio.Semaphore(places) for pool, places in kept.items()}
        self._shared = asyncio.Semaphore(pool_size - sum(kept.values()))
        self._queue_timeout = queue_timeout_seconds

    async def run(self, work: Callable[[Connection], T], *, pool: str | None = None, attempts: int = 3) -> T:
        """Run a unit of work as one transaction; returns after COMMIT.

        It waits for a connection of the named pool, or for one that is in none. Deadlocks and serialization failures
        are tried again. A caller that is canceled meanwhile does not interrupt the transaction: it ends in its thread.
        Raises `DatabaseUnavailable`; SQLAlchemy's `DataError` for a value that cannot be stored and `IntegrityError`
        for one that a constraint refuses.
        """
        places = self._shared if pool is None else self._pools.get(pool, self._shared)
        try:
            await asyncio.wait_for(places.acquire(), self._queue_timeout)
        except TimeoutError:
            raise DatabaseUnavailable("Every database connection is busy.") from None
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._transact, work, attempts)
        future.add_done_callback(partial(self._done, places))
        return await asyncio.shield(future)

    def _done(self, places: asyncio.Semaphore, future: "asyncio.Future[T]") -> None:
        places.release()
        if not future.cancelled():
            # Read here, as a canceled caller will not: an unread exception would be reported as forgotten.
            future.exception()

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises `DatabaseUnavailable`."""
        await self.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    async def close(self) -> None:
        """Let transactions end and close all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _transact(self, work: Callable[[Connection], T], attempts: int) -> T:
        for attempt in range(1, attempts + 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except PoolTimeoutError as error:
                raise DatabaseUnavailable("Every database connection is busy.") from error
            except DBAPIError as error:
                _forget_values(error)
                if sqlstate(error) == LOCK_NOT_AVAILABLE:
                    raise LockTimeout("Somebody else holds what is asked for.") from error
                if _is_away(error):
                    raise DatabaseUnavailable("The database cannot be reached, or is too busy.") from error
                if sqlstate(error) not in _RETRYABLE or attempt == attempts:
                    raise
                _LOG.debug("transaction.repeated", extra={"sqlstate": sqlstate(error)})
            except ValueError as error:
                # The driver itself refuses NUL in a string, before the server can: the same kind of answer.
                if "NUL" not in str(error):
                    raise
                raise DataError(None, None, error) from error
        raise AssertionError("unreachable")


def _forget_values(error: DBAPIError) -> None:
    """Leave of an error's words what it is: PostgreSQL's details quote whole rows, and errors are logged and kept."""
    state = sqlstate(error)
    if error.orig is None or not state:
        return
    primary = "" if state.startswith(_ABOUT_VALUES) else f": {error.orig.diag.message_primary}"  # type: ignore[attr-defined]
    refused_by = f" by {constraint(error)}" if constraint(error) else ""
    error.args = error.orig.args = (f"{type(error.orig).__name__} ({state}){refused_by}{primary}",)


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five-character code of an error, or ""."""
    return getattr(error.orig, "pgcode", None) or ""


def constraint(error: DBAPIError) -> str:
    """Name of the constraint that refused, or ""."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""


def _is_away(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = sqlstate(error)
    return state.startswith(_AWAY) or (isinstance(error, OperationalError) and not state)
