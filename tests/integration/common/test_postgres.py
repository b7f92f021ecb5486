"""Units of work are whole, bounded, and typed when the database cannot do them."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, text

from common.postgres import Database, DatabaseUnavailable


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A small pool with short patience."""
    opened = Database(
        database_url,
        application="test",
        pool_size=2,
        statement_timeout_ms=500,
        lock_timeout_ms=200,
        queue_timeout_seconds=0.2,
    )
    yield opened
    await opened.close()


async def test_a_unit_of_work_is_committed_or_not_at_all(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO tenant_load (tenant) VALUES ('a')"))
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.run(work)
    left = await database.run(lambda c: c.execute(text("SELECT count(*) FROM tenant_load")).scalar_one())

    assert left == 0


async def test_a_caller_that_goes_away_does_not_break_the_transaction(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        begun.set()
        assert go_on.wait(5)
        connection.execute(text("INSERT INTO tenant_load (tenant) VALUES ('a')"))

    running = asyncio.create_task(database.run(work))
    await asyncio.to_thread(begun.wait)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    go_on.set()
    await database.close()

    assert running.cancelled()


async def test_a_statement_that_takes_too_long_is_an_outage_that_passes(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await database.run(lambda c: c.execute(text("SELECT pg_sleep(5)")))


async def test_who_waits_too_long_for_a_connection_is_told(database: Database) -> None:
    go_on = threading.Event()
    holding = [asyncio.create_task(database.run(lambda c: go_on.wait(5))) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(DatabaseUnavailable, match="busy"):
        await database.run(lambda c: None)
    go_on.set()
    await asyncio.gather(*holding)


async def test_a_deadlock_is_tried_again(database: Database) -> None:
    await database.run(lambda c: c.execute(text("INSERT INTO tenant_load (tenant) VALUES ('a'), ('b')")))
    meet = threading.Barrier(2, timeout=5)
    tries: list[str] = []

    def lock(connection: Connection, first: str, second: str) -> None:
        tries.append(first)
        for tenant in (first, second):
            connection.execute(text("SELECT 1 FROM tenant_load WHERE tenant = :t FOR UPDATE"), {"t": tenant})
            if tenant == first and len(tries) <= 2:
                meet.wait()

    patient = "SET LOCAL lock_timeout = '4s'; SET LOCAL statement_timeout = '5s'"

    async def run(first: str, second: str) -> None:
        def both(connection: Connection) -> None:
            connection.execute(text(patient))
            lock(connection, first, second)

        await database.run(both)

    await asyncio.gather(run("a", "b"), run("b", "a"))

    # Two that begin again at once may meet once more.
    assert 3 <= len(tries) <= 4


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing", application="test", pool_size=1)
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    await database.close()
