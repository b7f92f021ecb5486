"""A primary with a synchronous standby: what was confirmed is there after the primary has died."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg2
import pytest

from common.postgres import Database, DatabaseUnavailable
from common.sql import Connection, text
from tests.support.patience import PATIENCE, pause
from tests.support.servers.postgres_pair import RunningPair, running_pair

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'test'"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPair]:
    """Two servers with a table."""
    with running_pair(tmp_path_factory.mktemp("pair")) as running:
        with psycopg2.connect(running.pair.url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept (number int PRIMARY KEY)")
        connection.close()
        yield running


class Writer:
    """Writes numbers one after the other, and remembers which were confirmed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.confirmed: set[int] = set()
        self._next = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Writes until it is stopped; an outage is waited out."""
        while not stop.is_set():
            self._next += 1
            try:
                await self._database.run(self._write)
            except DatabaseUnavailable:
                await pause()
            else:
                self.confirmed.add(self._next)

    def _write(self, connection: Connection) -> None:
        connection.execute(text("INSERT INTO kept VALUES (:number)"), {"number": self._next})

    async def kept(self) -> set[int]:
        """The numbers that are there."""
        return set(await self._database.run(lambda c: c.execute(text("SELECT number FROM kept")).scalars().all()))


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[Writer]:
    """Writes within the block."""
    writer, stop = Writer(database), asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    try:
        yield writer
    finally:
        stop.set()
        await running


async def has_written_more(writer: Writer) -> None:
    """Waits until more was confirmed than now."""
    before = len(writer.confirmed)
    async with asyncio.timeout(PATIENCE):
        while len(writer.confirmed) < before + 20:
            await pause()


@pytest.mark.slow
async def test_what_was_confirmed_outlives_the_primary_and_the_pool_follows(pair: RunningPair) -> None:
    database = Database(pair.pair.url, application="test", pool_size=4)
    async with writing(database) as writer:
        for _ in range(2):
            await has_written_more(writer)
            await asyncio.to_thread(pair.fail_over)
            await asyncio.to_thread(pair.start_standby)
        await has_written_more(writer)
    kept = await writer.kept()
    await database.close()

    assert writer.confirmed <= kept


async def test_a_commit_waits_for_a_standby_that_is_away_and_is_then_confirmed(pair: RunningPair) -> None:
    database = Database(pair.pair.url, application="test", pool_size=2)
    pair.kill(pair.pair.standby)
    writing = asyncio.create_task(database.run(lambda c: c.execute(text("INSERT INTO kept VALUES (-1)"))))
    async with asyncio.timeout(PATIENCE):
        while not await database.run(lambda c: c.execute(text(WAITING)).scalar_one()):
            await pause()
    waited = not writing.done()
    await asyncio.to_thread(pair.start_standby)
    await asyncio.wait_for(writing, PATIENCE)
    await database.close()

    assert waited
