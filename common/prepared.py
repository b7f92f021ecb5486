"""Prepared statements of a connection: each is parsed and planned once instead of at each execution.

Planning takes half of the server's time for a job otherwise. A plan is made without the values of parameters, and anew
after `PLAN_SECONDS`, as tables of jobs may grow from nothing to millions of rows before statistics are collected.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID

import psycopg2
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

#: Seconds after which a connection's plans are made anew.
PLAN_SECONDS = 30.0
#: Prepared statements of one connection; others are planned at each execution.
MAX_PREPARED = 400
#: Connection options under which a plan suits tables of every size.
PLAN_OPTIONS = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
_NUMBERED = PGDialect_psycopg2(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_PREPARABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
#: The type of the literal that the driver writes for a value, by the value's class.
_LITERALS: tuple[tuple[type, str], ...] = (
    (str, "unknown"), (bool, "boolean"), (float, "numeric"), (datetime, "timestamptz"), (date, "date"),
    (UUID, "uuid"), (bytes, "bytea"), (timedelta, "interval"),
)  # fmt: skip


@dataclass
class PreparedStatements:
    """The prepared statements of one connection to the server."""

    #: The command that executes each, by statement and types of parameters.
    commands: dict[tuple[TextClause, tuple[str, ...]], str] = field(default_factory=dict)
    #: Numbers of statements; never reused, so that a name has one meaning.
    numbers: "count[int]" = field(default_factory=count)
    #: Time of the present plans, by the monotonic clock.
    planned_at: float = field(default_factory=time.monotonic)

    def command(self, cursor: Any, statement: TextClause, parameters: Mapping[str, Any]) -> str | None:
        """Returns the command that executes a statement, which takes the same parameters; prepares it if it is new.

        None for a statement that is not to be prepared. Raises `psycopg2.Error`.
        """
        prepared = _numbered(statement)
        if prepared is None:
            return None
        body, names = prepared
        types = tuple([_type(parameters[name]) for name in names])
        if "" in types:
            return None
        if time.monotonic() - self.planned_at > PLAN_SECONDS:
            cursor.execute("DISCARD PLANS")
            self.planned_at = time.monotonic()
        command = self.commands.get((statement, types))
        if command is None and len(self.commands) < MAX_PREPARED:
            name = f"s{next(self.numbers)}"
            declared = f"({', '.join(types)})" if types else ""
            cursor.execute(f"PREPARE {name}{declared} AS {body}")
            arguments = ", ".join(f"%({each})s" for each in names)
            command = self.commands[statement, types] = f"EXECUTE {name}({arguments})" if names else f"EXECUTE {name}"
        return command


def is_outdated(error: psycopg2.Error) -> bool:
    """Whether a prepared statement failed as the columns that it returns were changed, so that none can be used."""
    return isinstance(error, psycopg2.errors.FeatureNotSupported) and "cached plan" in str(error)


@lru_cache(1024)
def _numbered(statement: TextClause) -> tuple[str, tuple[str, ...]] | None:
    """Returns a statement with parameters as `$1`, and their names in order; None if it cannot be prepared."""
    if not statement.text.lstrip(" \n(").startswith(_PREPARABLE):
        return None
    compiled = statement.compile(dialect=_NUMBERED)
    return str(compiled), tuple(compiled.positiontup or ())


def _type(value: object) -> str:
    """Returns the type of the literal that the driver writes for a value; "" for one whose type is not known."""
    if value is None:
        return "unknown"
    if isinstance(value, list):
        kinds = {_type(each) for each in value if each is not None}
        if not kinds:
            return "unknown"
        [kind, *others] = kinds
        return "" if others or "[" in kind or not kind else f"{'text' if kind == 'unknown' else kind}[]"
    if isinstance(value, int) and not isinstance(value, bool):
        return "integer" if -(2**31) <= value < 2**31 else "bigint" if -(2**63) <= value < 2**63 else "numeric"
    return next((name for kind, name in _LITERALS if isinstance(value, kind)), "")
