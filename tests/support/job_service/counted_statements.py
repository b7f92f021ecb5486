"""Statements that this process sends to PostgreSQL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import TextClause

from common.sql import Connection, ReadResult


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Yields the statements that were sent since."""
    sent: list[str] = []
    execute, defer = Connection.execute, Connection.defer

    def noted(
        self: Connection, statement: TextClause, parameters: Mapping[str, Any] | None = None, **how: Any
    ) -> ReadResult:
        sent.append(statement.text)
        return execute(self, statement, parameters, **how)

    def noted_deferred(self: Connection, statement: TextClause, parameters: Mapping[str, Any] | None = None) -> None:
        sent.append(statement.text)
        defer(self, statement, parameters)

    with patch.object(Connection, "execute", noted), patch.object(Connection, "defer", noted_deferred):
        yield sent
