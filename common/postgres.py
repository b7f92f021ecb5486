"""PostgreSQL: runs each unit of work as one transaction, in a thread of a bounded pool."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common import after_commit
from common.database_url import driver_url
from common.errors import DependencyUnavailable
from common.prepared import PLAN_OPTIONS
from common.sql import Connection, text, transaction
from common.telemetry import metrics, registry

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
LOCK_NOT_AVAILABLE = "55P03"
_RETRYABLE = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
#: Beginnings of SQLSTATEs whose messages may quote a value.
_ABOUT_VALUES = ("22", "23", "P0")
#: Beginnings of SQLSTATEs of temporary errors: broken connections, too few resources, an operator's intervention, a
#: standby that accepts no writes, and waits that one of our timeouts ended.
_UNAVAILABLE = ("08", "53", "57", "25006", "55P03", "25P03")


class DatabaseUnavailable(DependencyUnavailable):
    """The database is unreachable, does not respond in time, or all connections are busy for too long."""


class LockTimeout(DatabaseUnavailable):
    """Another transaction holds a row for longer than the lock timeout; the database itself works."""


class _LostBeforeCommit(DatabaseUnavailable):
    """The connection was lost before COMMIT was sent, so that nothing was committed."""


def open_pool(url: str, **options: Any) -> Engine:
    """Returns a pool of connections for `common.sql.transaction`, with options of SQLAlchemy's `create_engine`."""
    arguments = options.pop("connect_args", {})
    arguments["options"] = " ".join([PLAN_OPTIONS, *filter(None, [arguments.get("options")])])
    # The driver sends no BEGIN and COMMIT of its own. Errors are logged, and parameters may be prompts.
    return create_engine(
        driver_url(url), isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=arguments, **options
    )


class Database:
    """A pool of connections; the server enforces a statement and a lock timeout (milliseconds) on each.

    `pools` reserves connections by name, so that no kind of work can take the connections that another needs.
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
        self._engine = open_pool(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=queue_timeout_seconds,
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
        reserved = pools or {}
        self._pools = {pool: asyncio.Semaphore(connections) for pool, connections in reserved.items()}
        self._shared = asyncio.Semaphore(pool_size - sum(reserved.values()))
        self._queue_timeout = queue_timeout_seconds
        self._in_use = self._waiting = 0
        for state, read in (
            ("limit", lambda: pool_size), ("in_use", lambda: self._in_use), ("waiting", lambda: self._waiting)
        ):  # fmt: skip
            metrics.read(registry.DATABASE_CONNECTIONS, read, state)

    async def run(self, work: Callable[[Connection], T], *, pool: str | None = None, attempts: int = 3) -> T:
        """Runs a unit of work as one transaction; returns its result after COMMIT.

        Waits for a connection of the named pool, or else for one that is not reserved. Deadlocks and serialization
        failures are retried, up to `attempts` in all. Canceling the caller does not interrupt the transaction: it
        ends in its thread. Raises `DatabaseUnavailable`; SQLAlchemy's `DataError` for a value that cannot be stored,
        and `IntegrityError` for one that violates a constraint.
        """
        connections = self._shared if pool is None else self._pools.get(pool, self._shared)
        self._waiting, asked_at = self._waiting + 1, perf_counter()
        try:
            await asyncio.wait_for(connections.acquire(), self._queue_timeout)
        except TimeoutError:
            raise DatabaseUnavailable("All database connections are busy.") from None
        finally:
            self._waiting -= 1
            metrics.observe(registry.DATABASE_WAIT_SECONDS, perf_counter() - asked_at)
        # In the caller's context, so that what is counted after the commit knows its span.
        transact = partial(copy_context().run, self._transact, work, attempts)
        future = asyncio.get_running_loop().run_in_executor(self._threads, transact)
        self._in_use += 1
        future.add_done_callback(partial(self._done, connections, perf_counter()))
        return await asyncio.shield(future)

    def _done(self, connections: asyncio.Semaphore, began_at: float, future: "asyncio.Future[T]") -> None:
        connections.release()
        self._in_use -= 1
        # A canceled caller does not read the exception; asyncio would log it as never retrieved.
        failed = future.cancelled() or future.exception() is not None
        outcome = "rolled_back" if failed else "committed"
        metrics.observe(registry.DATABASE_TRANSACTION_SECONDS, perf_counter() - began_at, outcome)

    async def ping(self) -> None:
        """Runs a trivial query, to check the connection. Raises `DatabaseUnavailable`."""
        await self.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    async def close(self) -> None:
        """Waits for open transactions and closes all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _transact_once(self, work: Callable[[Connection], T]) -> T:
        connection = None
        try:
            with transaction(self._engine) as connection:
                result = work(connection)
        except DBAPIError as error:
            if connection and error.connection_invalidated and not connection.may_be_committed:
                raise _LostBeforeCommit("The database ended the connection.") from error
            raise
        for action in after_commit.actions_of(connection):
            try:
                action()
            except Exception:  # noqa: BLE001 - what is committed must not be reported as failed
                _LOG.exception("action.failed")
        return result

    def _transact_connected(self, work: Callable[[Connection], T]) -> T:
        """Runs the work again if its connection was lost, as idle ones are when the server is restarted.

        Or given up, as one is whose prepared statements were made before a migration changed their tables.
        """
        try:
            return self._transact_once(work)
        except _LostBeforeCommit:
            # The same is most likely true of the other idle ones.
            self._engine.dispose()
            return self._transact_once(work)

    def _transact(self, work: Callable[[Connection], T], attempts: int) -> T:
        for attempt in range(1, attempts + 1):
            try:
                return self._transact_connected(work)
            except PoolTimeoutError as error:
                raise DatabaseUnavailable("All database connections are busy.") from error
            except DBAPIError as error:
                _forget_values(error)
                if sqlstate(error) == LOCK_NOT_AVAILABLE:
                    raise LockTimeout("Another transaction holds the row for too long.") from error
                if _is_unavailable(error):
                    raise DatabaseUnavailable("The database is unreachable or too busy.") from error
                if sqlstate(error) not in _RETRYABLE or attempt == attempts:
                    raise
                _LOG.debug("transaction.repeated", extra={"sqlstate": sqlstate(error)})
            except ValueError as error:
                # The driver refuses NUL in a string before the server can: the same error as for other bad values.
                if "NUL" not in str(error):
                    raise
                raise DataError(None, None, error) from error
        raise AssertionError("unreachable")


def _forget_values(error: DBAPIError) -> None:
    """Removes values from an error's message: PostgreSQL's details quote whole rows, and errors are logged and kept."""
    state = sqlstate(error)
    if error.orig is None or not state:
        return
    primary = "" if state.startswith(_ABOUT_VALUES) else f": {error.orig.diag.message_primary}"  # type: ignore[attr-defined]
    refused_by = f" by {constraint(error)}" if constraint(error) else ""
    error.args = error.orig.args = (f"{type(error.orig).__name__} ({state}){refused_by}{primary}",)


def sqlstate(error: DBAPIError) -> str:
    """Returns PostgreSQL's five-character code of an error, or ""."""
    return getattr(error.orig, "pgcode", None) or ""


def constraint(error: DBAPIError) -> str:
    """Returns the name of the violated constraint, or ""."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""


def _is_unavailable(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = sqlstate(error)
    return state.startswith(_UNAVAILABLE) or (isinstance(error, OperationalError) and not state)
