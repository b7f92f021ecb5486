"""Converts values to rows and back; a whole batch is sent to PostgreSQL as one JSON parameter."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from common.sql import Connection, text
from services.job.domain.states import FINAL, State

T = TypeVar("T")
#: `states.FINAL` as an SQL list, in parentheses.
FINAL_STATES = "({})".format(", ".join(f"'{state}'" for state in State if state in FINAL))


def _key(kind: type[Any]) -> Any:
    return kind


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_json(value: object) -> Any:
    """Returns a dataclass as plain JSON values."""
    return _adapter(_key(type(value))).dump_python(value, mode="json")


def from_json(kind: type[T], value: Any) -> T:
    """Returns the dataclass of plain JSON values; unknown keys of newer versions are ignored."""
    read: T = _adapter(_key(kind)).validate_python(value)
    return read


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def as_parameter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows as one parameter for `jsonb_populate_recordset` or `jsonb_to_recordset`."""
    return _ANY.dump_json(list(rows)).decode()


def insert(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]], *, on_conflict: str = "") -> int:
    """Inserts rows whose keys are the table's columns; returns the number of new rows.

    `table` and `on_conflict` become part of the statement: they are constants of this package, never input.
    """
    if not rows:
        return 0
    statement = (
        f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, CAST(:rows AS jsonb)) {on_conflict}"  # noqa: S608
    )
    return connection.execute(text(statement), {"rows": as_parameter(rows)}).rowcount


def as_array(numbers: Iterable[int]) -> str:
    """Returns whole numbers as one parameter for an array: the statement is prepared once, also for none."""
    return "{" + ",".join(map(str, numbers)) + "}"


def as_json(value: Any) -> str:
    """Returns a value as one JSON parameter."""
    return _ANY.dump_json(value).decode()
