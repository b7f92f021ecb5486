"""Values to rows and back: whole batches travel to PostgreSQL as one JSON parameter."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection, text

T = TypeVar("T")


def _key(kind: type[Any]) -> Any:
    return kind


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_json(value: object) -> Any:
    """A dataclass as plain JSON values."""
    return _adapter(_key(type(value))).dump_python(value, mode="json")


def from_json(kind: type[T], value: Any) -> T:
    """The dataclass from plain JSON values; unknown keys of newer writers are ignored."""
    read: T = _adapter(_key(kind)).validate_python(value)
    return read


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def as_parameter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the one parameter of a statement that reads them with jsonb_populate_recordset."""
    return _ANY.dump_json(list(rows)).decode()


def insert(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]], *, on_conflict: str = "") -> int:
    """Insert rows whose keys are the table's columns; returns how many were new.

    `table` and `on_conflict` are written in this package, never by a caller from outside.
    """
    if not rows:
        return 0
    statement = (
        f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, CAST(:rows AS jsonb)) {on_conflict}"  # noqa: S608
    )
    return connection.execute(text(statement), {"rows": as_parameter(rows)}).rowcount


def as_json(value: Any) -> str:
    """One JSON parameter."""
    return _ANY.dump_json(value).decode()
