"""Statements of a transaction: compiled and prepared once, and run by the driver.

SQLAlchemy keeps the connections, the transactions and the classes of errors. Running a statement through it takes more
than twice the processor time of the driver alone, and a job needs dozens of them.
"""

from collections import namedtuple
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Generic, TypeVar

import psycopg2
import sqlalchemy
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound

from common.prepared import PreparedStatements, is_outdated

T = TypeVar("T")
#: A row, by the names of its columns.
Row = dict[str, Any]
#: Statements, and shapes of rows, that are remembered.
MAX_COMPILED = 1024
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


class Connection:
    """The connection of an open transaction of SQLAlchemy."""

    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self._connection = connection
        of_connection = connection.connection.info
        self._prepared: PreparedStatements = of_connection.setdefault("prepared", PreparedStatements())
        #: What belongs to the transaction, by name.
        self.info: dict[str, Any] = {}

    def begin_nested(self) -> AbstractContextManager[object]:
        """Opens a savepoint, which is rolled back alone if its block raises."""
        return self._connection.begin_nested()

    def execute(self, statement: sqlalchemy.TextClause, parameters: Mapping[str, Any] | None = None) -> ReadResult:
        """Runs a statement and reads all its rows. Raises SQLAlchemy's `DBAPIError`."""
        driver: Any = self._connection.connection.dbapi_connection
        try:
            with driver.cursor() as cursor:
                values = dict(parameters or {})
                command = self._prepared.command(cursor, statement, values)
                cursor.execute(command or _compiled(statement), values)
                if cursor.description is None:
                    return ReadResult((), [], rowcount=cursor.rowcount)
                names = tuple([column.name for column in cursor.description])
                return ReadResult(names, cursor.fetchall(), rowcount=cursor.rowcount)
        except psycopg2.Error as error:
            is_lost = bool(driver.closed) or is_outdated(error)
            if is_lost:
                self._connection.invalidate(error)
            raise DBAPIError.instance(
                statement.text,
                None,
                error,
                psycopg2.Error,
                hide_parameters=True,
                connection_invalidated=is_lost,
                dialect=_DIALECT,
            ) from error
