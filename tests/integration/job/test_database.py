"""Whole units of work: what should pass by itself is told from what will never be right."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.exc import DataError, IntegrityError

from common.postgres import Database, DatabaseUnavailable
from common.sql import Connection, text
from services.job.store import jobs
from tests.support.job_service.use_cases import JobUseCases
from tests.support.patience import PATIENCE


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool whose patience is short."""
    opened = Database(
        database_url, application="test", pool_size=2, lock_timeout_ms=100
    )  # fmt: skip
    yield opened
    await opened.close()


async def test_a_lock_that_does_not_come_free_is_an_outage_and_no_defect(database: Database, desk: JobUseCases) -> None:
    job = desk.create().job
    locked, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        jobs.lock_job(connection, job.id)
        loop.call_soon_threadsafe(locked.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(PATIENCE)

    holding = asyncio.create_task(asyncio.to_thread(desk.run, hold))
    await locked.wait()
    with pytest.raises(DatabaseUnavailable):
        await database.run(lambda connection: jobs.lock_job(connection, job.id))
    go_on.set()
    await holding

    assert (await database.run(lambda connection: jobs.lock_job(connection, job.id)))[0] == job


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'too_many_connections'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction'; END $$",
    ],
    ids=["cut off", "no connection left", "a standby"],
)
async def test_what_should_pass_is_unavailable_and_the_next_work_is_done(database: Database, sql: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        await database.run(lambda connection: connection.execute(text(sql)))

    await database.ping()


async def test_a_character_that_cannot_be_stored_is_the_askers_fault(database: Database) -> None:
    with pytest.raises(DataError):
        await database.run(lambda connection: jobs.get(connection, "job_\0"))


async def test_what_a_constraint_refuses_leaves_nothing(database: Database, desk: JobUseCases) -> None:
    desk.create()

    def work(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET model = 'other'"))
        connection.execute(text("UPDATE jobs SET state = 'resting'"))

    with pytest.raises(IntegrityError):
        await database.run(work)
    assert desk.sql("SELECT model FROM jobs")[0].model == "v1"


async def test_a_caller_that_goes_away_does_not_break_its_transaction(database: Database, desk: JobUseCases) -> None:
    desk.create()
    loop, began, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def work(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET model = 'other'"))
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(PATIENCE)

    running = asyncio.create_task(database.run(work))
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    go_on.set()
    await database.close()

    assert desk.sql("SELECT model FROM jobs")[0].model == "other"
