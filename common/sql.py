"""Transactions and their statements: compiled and prepared once, and sent by the driver in few messages.

SQLAlchemy keeps the connections and the classes of errors. Running a statement through it takes more than twice the
processor time of the driver alone, and a job needs dozens of them. BEGIN, COMMIT and statements whose results are not
needed have no message of their own: the thread of a transaction waits for the interpreter's lock after each response.
"""

from collections import namedtuple
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import Any, Generic, TypeVar

import psycopg2
import sqlalchemy
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound
from sqlalchemy.pool import PoolProxiedConnection

from common.prepared import PreparedStatements, is_outdated

T = TypeVar("T")
#: A row, by the names of its columns.
Row = dict[str, Any]
#: Statements, and shapes of rows, that are remembered.
MAX_COMPILED = 1024
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


@lru_cache(MAX_COMPILED)
def text(statement: str) -> sqlalchemy.TextClause:
    """Returns a statement whose parameters are written as `:name`."""
    return sqlalchemy.text(statement)


@lru_cache(MAX_COMPILED)
def _compiled(statement: sqlalchemy.TextClause) -> str:
    """Returns a statement as the driver takes it, with parameters as `%(name)s`."""
    return str(statement.compile(dialect=_DIALECT))


@lru_cache(MAX_COMPILED)
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


class Rows(Generic[T]):
    """Rows that were read."""

    def __init__(self, rows: list[T]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def all(self) -> list[T]:
        """Returns all rows."""
        return self._rows

    def first(self) -> T | None:
        """Returns the first row; None without rows."""
        return self._rows[0] if self._rows else None

    def one(self) -> T:
        """Returns the only row. Raises `NoResultFound`, `MultipleResultsFound`."""
        if not self._rows:
            raise NoResultFound("No row was found where one is required.")
        if len(self._rows) > 1:
            raise MultipleResultsFound("Several rows were found where one is required.")
        return self._rows[0]


class ReadResult:
    """What a statement returned, with rows as named tuples."""

    def __init__(self, names: tuple[str, ...], rows: list[tuple[Any, ...]], *, rowcount: int) -> None:
        self._names = names
        self._tuples = rows
        #: Number of rows that were changed or returned.
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return map(_row_type(self._names)._make, self._tuples)

    def all(self) -> list[Any]:
        """Returns all rows."""
        return list(self)

    def first(self) -> Any | None:
        """Returns the first row; None without rows."""
        return next(iter(self), None)

    def one(self) -> Any:
        """Returns the only row. Raises `NoResultFound`, `MultipleResultsFound`."""
        return Rows(self.all()).one()

    def mappings(self) -> Rows[Row]:
        """Returns rows as dictionaries, by the names of the columns."""
        return Rows([dict(zip(self._names, row, strict=True)) for row in self._tuples])

    def scalars(self) -> Rows[Any]:
        """Returns the first column of each row."""
        return Rows([row[0] for row in self._tuples])

    def scalar(self) -> Any:
        """Returns the first column of the first row; None without rows."""
        return self._tuples[0][0] if self._tuples else None

    def scalar_one(self) -> Any:
        """Returns the first column of the only row. Raises `NoResultFound`, `MultipleResultsFound`."""
        return self.scalars().one()


class TransactionFailedError(Exception):
    """COMMIT was refused, as an error within the transaction was caught outside of a savepoint. Nothing was written."""


class Connection:
    """A connection of a pool, with one transaction, which begins with its first statement."""

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self._pooled = pooled
        # Kept, as an invalidated connection has no driver's connection any more.
        self._driver: Any = pooled.dbapi_connection
        self._prepared: PreparedStatements = pooled.info.setdefault("prepared", PreparedStatements())
        self._unsent = [_BEGIN]
        self._has_deferred = False
        self._savepoints = count(1)
        self._status: str | None = None
        #: What belongs to the transaction, by name.
        self.info: dict[str, Any] = {}
        #: Whether COMMIT was sent and no response said that it failed.
        self.may_be_committed = False

    def execute(
        self,
        statement: sqlalchemy.TextClause,
        parameters: Mapping[str, Any] | None = None,
        *,
        is_prepared: bool = True,
    ) -> ReadResult:
        """Runs the deferred statements, then this one, and reads all its rows. Raises SQLAlchemy's `DBAPIError`.

        A statement that is not prepared is planned for its values: for lists, of which there are as many statements as
        combinations of filters, and whose best index depends on how many rows match.
        """
        return self._send(self._command(statement, parameters, is_prepared=is_prepared))

    def defer(self, statement: sqlalchemy.TextClause, parameters: Mapping[str, Any] | None = None) -> None:
        """Has a statement run whose result is not needed: with the next one, or with COMMIT, which raise its errors.

        Raises SQLAlchemy's `DBAPIError` for a statement that cannot be prepared.
        """
        self._unsent.append(self._command(statement, parameters))
        self._has_deferred = True

    @contextmanager
    def begin_nested(self) -> Iterator[None]:
        """Opens a savepoint, which is rolled back alone if its block raises; its deferred statements run within it."""
        if self._has_deferred:
            self._send(b"SELECT")
        name = f"savepoint_{next(self._savepoints)}"
        self._unsent.append(begin := f"SAVEPOINT {name}".encode())
        try:
            yield
            if self._has_deferred:
                self._send(f"RELEASE {name}".encode())
            else:
                self._unsent.append(f"RELEASE {name}".encode())
        except BaseException:
            self._has_deferred = False
            if begin in self._unsent:
                del self._unsent[self._unsent.index(begin) :]
            elif not self._driver.closed:
                self._unsent = []
                self._send(f"ROLLBACK TO {name}; RELEASE {name}".encode())
            raise

    def commit(self) -> None:
        """Runs the deferred statements and commits. Raises SQLAlchemy's `DBAPIError`, `TransactionFailedError`."""
        if self._unsent[:1] == [_BEGIN]:
            if not self._has_deferred:
                return
            # Not with COMMIT: a connection that was lost while it was idle is noticed before there is any doubt.
            self._send(b"SELECT")
        self.may_be_committed = True
        self._send(b"COMMIT")
        if self._status != "COMMIT":
            self.may_be_committed = False
            raise TransactionFailedError("An error within the transaction was caught, so that it was rolled back.")

    def rollback(self) -> None:
        """Rolls the transaction back, if it is open; a connection that cannot do so is given up."""
        self._unsent = []
        if self._driver.closed or self._driver.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            return
        try:
            self._send(b"ROLLBACK")
        except DBAPIError as error:
            self._pooled.invalidate(error)

    def _command(
        self, statement: sqlalchemy.TextClause, parameters: Mapping[str, Any] | None, *, is_prepared: bool = True
    ) -> bytes:
        values = dict(parameters or {})
        try:
            with self._driver.cursor() as cursor:
                command = self._prepared.command(cursor, statement, values) if is_prepared else None
                written: bytes = cursor.mogrify(command or _compiled(statement), values)
                return written
        except psycopg2.Error as error:
            raise self._failed(error) from error

    def _send(self, command: bytes) -> ReadResult:
        commands = b";".join([*self._unsent, command])
        self._unsent, self._has_deferred = [], False
        try:
            with self._driver.cursor() as cursor:
                cursor.execute(commands)
                self._status = cursor.statusmessage
                if cursor.description is None:
                    return ReadResult((), [], rowcount=cursor.rowcount)
                names = tuple([column.name for column in cursor.description])
                return ReadResult(names, cursor.fetchall(), rowcount=cursor.rowcount)
        except psycopg2.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: psycopg2.Error) -> DBAPIError:
        """Returns SQLAlchemy's error for one of the driver; gives the connection up if it is lost or outdated."""
        is_lost = bool(self._driver.closed)
        if not is_lost and error.pgcode:
            self.may_be_committed = False
        is_lost = is_lost or is_outdated(error)
        if is_lost:
            self._pooled.invalidate(error)
        return _of_driver(error, is_lost=is_lost)


@contextmanager
def transaction(pool: sqlalchemy.Engine) -> Iterator[Connection]:
    """Yields a connection whose transaction is committed after the block, and rolled back if the block raises.

    The pool is one of `common.postgres.open_pool`. Raises SQLAlchemy's `DBAPIError`, and its `TimeoutError` when no
    connection becomes free.
    """
    try:
        pooled = pool.raw_connection()
    except psycopg2.Error as error:
        raise _of_driver(error, is_lost=False) from error
    connection = Connection(pooled)
    try:
        yield connection
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        pooled.close()


def _of_driver(error: psycopg2.Error, *, is_lost: bool) -> DBAPIError:
    # Without the statement and its values: errors are logged.
    found = DBAPIError.instance(
        None, None, error, psycopg2.Error, hide_parameters=True, connection_invalidated=is_lost, dialect=_DIALECT
    )
    assert isinstance(found, DBAPIError)
    return found
