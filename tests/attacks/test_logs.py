"""What callers wrote is in no log line and in no dead letter, whatever the database says of it."""

import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from common.consuming import Message, Reject
from common.postgres import Database
from common.sql import Connection, text
from services.job.loops.fact_verdicts import REFUSED_DELIVERIES, verdict_on

SECRET = "a portrait of Ada Lovelace"
STATEMENTS: dict[str, Any] = {
    "a row that lacks a value": "INSERT INTO idempotency_keys (tenant, scope, key) VALUES ('a', 'b', :secret)",
    "a row that is there": """
        INSERT INTO tenant_load (tenant) VALUES (:secret);
        INSERT INTO tenant_load (tenant) VALUES (:secret)""",
    "a value that is no number": "SELECT CAST(:secret AS integer)",
    "a statement that is none": "SELEKT :secret",
    "a column that is not there": "SELECT nothing FROM tenant_load WHERE tenant = :secret",
}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The job store."""
    opened = Database(database_url, application="test", pool_size=1)
    yield opened
    await opened.close()


async def _error(database: Database, statement: str) -> DBAPIError:
    def work(connection: Connection) -> None:
        connection.execute(text(statement), {"secret": SECRET})

    with pytest.raises(DBAPIError) as refused:
        await database.run(work)
    return refused.value


@pytest.mark.parametrize("name", STATEMENTS)
async def test_no_value_is_in_an_errors_trace(database: Database, name: str) -> None:
    error = await _error(database, STATEMENTS[name])
    told = "".join(traceback.format_exception(error))

    assert "Lovelace" not in told
    assert "Failing row" not in told
    # What the error is, is still said.
    assert type(error.orig).__name__ in told


@pytest.mark.parametrize("name", STATEMENTS)
async def test_no_value_is_in_a_dead_letter(database: Database, name: str, caplog: pytest.LogCaptureFixture) -> None:
    message = Message(
        subject="calotype.fact.a.b", body=b"", headers={}, stream_sequence=1, delivered=REFUSED_DELIVERIES
    )
    verdict = verdict_on(message, await _error(database, STATEMENTS[name]))

    assert "Lovelace" not in f"{verdict} {[vars(record) for record in caplog.records]}"
    if name == "a row that lacks a value":
        assert isinstance(verdict, Reject)
