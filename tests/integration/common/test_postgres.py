"""Units of work are whole, bounded, and typed when the database cannot do them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from common.postgres import Database, DatabaseUnavailable
from common.sql import Connection, text
from tests.support.patience import PATIENCE
from tests.support.servers.lost_connections import end_connections


@asynccontextmanager
async def opened(url: str, **times: Any) -> AsyncIterator[Database]:
    """A small pool; nothing times out on a busy machine unless it is to."""
    patient = {
        "statement_timeout_ms": int(PATIENCE * 1_000),
        "lock_timeout_ms": int(PATIENCE * 1_000),
        "queue_timeout_seconds": PATIENCE,
    }
    database = Database(url, application="test", **({"pool_size": 2} | patient | times))
    yield database
    await database.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The pool that most tests use."""
    async with opened(database_url) as database:
        yield database


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
        assert go_on.wait(PATIENCE)
        connection.execute(text("INSERT INTO tenant_load (tenant) VALUES ('a')"))

    running = asyncio.create_task(database.run(work))
    await asyncio.to_thread(begun.wait)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    go_on.set()
    await database.close()

    assert running.cancelled()


async def test_a_statement_that_takes_too_long_is_an_outage_that_passes(database_url: str) -> None:
    async with opened(database_url, statement_timeout_ms=500) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.run(lambda c: c.execute(text("SELECT pg_sleep(:s)"), {"s": PATIENCE}))


async def test_who_waits_too_long_for_a_connection_is_told(database_url: str) -> None:
    go_on, held = threading.Event(), threading.Barrier(3, timeout=PATIENCE)

    def hold(connection: Connection) -> None:
        held.wait()
        assert go_on.wait(PATIENCE)

    async with opened(database_url, queue_timeout_seconds=0.2) as database:
        holding = [asyncio.create_task(database.run(hold)) for _ in range(2)]
        await asyncio.to_thread(held.wait)
        with pytest.raises(DatabaseUnavailable, match="busy"):
            await database.run(lambda c: None)
        go_on.set()
        await asyncio.gather(*holding)


@pytest.mark.parametrize(("busy", "free"), [("own", None), (None, "own")])
async def test_a_pool_has_connections_of_its_own(database_url: str, busy: str | None, free: str | None) -> None:
    go_on = threading.Event()

    def hold(connection: Connection) -> None:
        assert go_on.wait(PATIENCE)

    async with opened(database_url, pool_size=3, pools={"own": 1}) as database:
        holding = [asyncio.create_task(database.run(hold, pool=busy)) for _ in range(3)]
        await database.run(lambda c: c.execute(text("SELECT 1")), pool=free)
        assert not any(one.done() for one in holding)
        go_on.set()
        await asyncio.gather(*holding)


async def test_a_deadlock_is_tried_again(database: Database) -> None:
    await database.run(lambda c: c.execute(text("INSERT INTO tenant_load (tenant) VALUES ('a'), ('b')")))
    meet = threading.Barrier(2, timeout=PATIENCE)
    tries: list[str] = []

    def lock(connection: Connection, first: str, second: str) -> None:
        tries.append(first)
        for tenant in (first, second):
            connection.execute(text("SELECT 1 FROM tenant_load WHERE tenant = :t FOR UPDATE"), {"t": tenant})
            if tenant == first and len(tries) <= 2:
                meet.wait()

    # More attempts than in production: two that begin again at once may meet once more, and again on a busy machine.
    work = [partial(lock, first=first, second=second) for first, second in ("ab", "ba")]
    await asyncio.gather(*[database.run(one, attempts=20) for one in work])

    assert len(tries) >= 3


async def test_work_on_a_connection_that_was_ended_while_it_was_idle_is_done(
    database: Database, database_url: str
) -> None:
    at_once = threading.Barrier(2)

    def both(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        at_once.wait(PATIENCE)

    await asyncio.gather(database.run(both), database.run(both))
    end_connections(database_url)

    assert (
        await asyncio.gather(*(database.run(lambda c: c.execute(text("SELECT 1")).scalar()) for _ in range(4)))
        == [1] * 4
    )


async def test_work_whose_connection_is_lost_is_done_again_once(database: Database, database_url: str) -> None:
    tried: list[int] = []

    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO tenant_load (tenant) VALUES (:name)"), {"name": f"lost {losses} times"})
        tried.append(1)
        if len(tried) <= losses:
            end_connections(database_url)
        connection.execute(text("SELECT 1"))

    losses = 1
    await database.run(work)
    assert len(tried) == 2
    assert await database.run(lambda c: c.execute(text("SELECT count(*) FROM tenant_load")).scalar_one()) == 1

    losses = 100
    tried.clear()
    with pytest.raises(DatabaseUnavailable):
        await database.run(work)
    assert len(tried) == 2


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing", application="test", pool_size=1)
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    await database.close()
