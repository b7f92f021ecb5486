"""Actions after a commit, on a real database: they run once it is committed, and change nothing of its outcome."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from sqlalchemy.exc import DBAPIError

from common.after_commit import after_commit, savepoint
from common.postgres import Database
from common.sql import Connection, text

DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with one connection, which every transaction uses."""
    opened = Database(database_url, application="test", pool_size=1)
    yield opened
    await opened.close()


async def test_they_run_after_the_commit_and_never_after_a_rollback(database: Database) -> None:
    seen: list[str] = []

    def fails(connection: Connection) -> None:
        after_commit(connection, lambda: seen.append("rolled back"))
        connection.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError):
        await database.run(fails)
    await database.run(lambda connection: after_commit(connection, lambda: seen.append("committed")))

    assert seen == ["committed"]


async def test_a_repeated_transaction_runs_them_once(database: Database) -> None:
    seen: list[int] = []
    attempts: list[int] = []

    def deadlocks_once(connection: Connection) -> None:
        attempts.append(len(attempts))
        after_commit(connection, lambda: seen.append(attempts[-1]))
        if len(attempts) == 1:
            connection.execute(text(DEADLOCK))

    await database.run(deadlocks_once)

    assert (attempts, seen) == ([0, 1], [1])


async def test_a_defect_in_one_reports_no_committed_transaction_as_failed(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def work(connection: Connection) -> str:
        after_commit(connection, lambda: int("NUL"))
        after_commit(connection, lambda: seen.append("the next"))
        return "result"

    assert await database.run(work) == "result"
    assert seen == ["the next"]
    assert [record.message for record in caplog.records] == ["action.failed"]


async def test_an_undone_part_takes_its_actions_with_it_and_leaves_the_others(database: Database) -> None:
    seen: list[str] = []

    def work(connection: Connection) -> int:
        after_commit(connection, lambda: seen.append("before"))
        with suppress(ZeroDivisionError), savepoint(connection):
            connection.execute(text("CREATE TABLE undone (n integer)"))
            after_commit(connection, lambda: seen.append("undone"))
            _ = 1 / 0
        with savepoint(connection):
            after_commit(connection, lambda: seen.append("kept"))
        return connection.execute(text("SELECT count(*) FROM pg_class WHERE relname = 'undone'")).scalar_one()

    assert await database.run(work) == 0
    assert seen == ["before", "kept"]
