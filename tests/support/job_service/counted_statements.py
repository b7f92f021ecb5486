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
    execute = Connection.execute

    def noted(self: Connection, statement: TextClause, parameters: Mapping[str, Any] | None = None) -> ReadResult:
        sent.append(statement.text)
        return execute(self, statement, parameters)

    with patch.object(Connection, "execute", noted):
        yield sent
