"""What a job costs in the database and the broker, counted: these figures do not depend on the load of the machine.

One job of one image goes through the use cases that the services call, alone: in a batch, several jobs share the
statements of a claim, of facts and of the relay.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats

from common.postgres import Database
from common.sql import Connection
from services.job.loops.outbox_relay import OutboxRelay
from services.job.store import outbox
from tests.benchmarks import many_rows
from tests.benchmarks.results import Measurement
from tests.support.brokers import facts
from tests.support.brokers.facts import broker_at
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.use_cases import JobUseCases, generated, stored, use_cases_at
from tests.support.servers import embedded_servers

#: Jobs that were completed before the counted one, and those whose size on disk is measured.
WARM_UP, STORED = 20, 100
WRITES = """
SELECT relname AS name, n_tup_ins + n_tup_upd + n_tup_del AS count FROM pg_stat_user_tables
"""
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes"
SIZES = """
SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""


class Counter:
    """Counts what each stage of a job sends to the database, and what that writes."""

    def __init__(self, desk: JobUseCases) -> None:
        self._desk = desk
        #: What was counted.
        self.found: list[Measurement] = []

    def stage(self, name: str, work: Callable[[], Any]) -> Any:
        """Runs a stage and counts."""
        before, wal = self._writes(), self._wal()
        with counted_statements() as statements:
            result = work()
        [sent, written] = [len(statements), self._wal() - wal]
        after = self._writes()
        rows = {table: count - before.get(table, 0) for table, count in after.items()}
        self._add("statements", "", sent, name)
        self._add("rows written", "", sum(rows.values()), name)
        self._add("write-ahead log", "bytes", written, name)
        return result

    def _add(self, what: str, unit: str, value: float, stage: str) -> None:
        self.found.append(Measurement(part="costs", name=what, unit=unit, values=[value], labels={"of": stage}))

    def _wal(self) -> int:
        [row] = self._desk.sql(WAL)
        return int(row.bytes)

    def _writes(self) -> dict[str, int]:
        # Each connection reports what it has counted.
        self._desk.sql("SELECT pg_stat_force_next_flush()")
        return {row.name: row.count for row in self._desk.sql(WRITES)}


def count_stages(desk: JobUseCases, relay: Callable[[], object]) -> list[Measurement]:
    """Counts each stage of one job."""
    for _ in range(WARM_UP):
        many_rows.complete(desk)
        relay()
    counter = Counter(desk)
    job = counter.stage("submission", lambda: desk.create(tenant="acme")).job
    [claimed] = counter.stage("claim", desk.claim)
    call = counter.stage("call recorded", lambda: desk.begin(claimed.job))
    counter.stage("images staged", lambda: desk.apply(generated(desk.job(job.id), call)))
    [uploading] = counter.stage("upload claimed", desk.claim_uploads)
    counter.stage("images stored", lambda: desk.apply(stored(uploading.job)))
    messages = desk.sql("SELECT count(*) AS events, count(wake) AS wakes FROM outbox")
    counter.stage("relay", relay)
    [row] = messages
    found = counter.found
    for name, value in (("events", row.events), ("wake-ups", row.wakes), ("facts", 2)):
        found.append(Measurement(part="messages per job", name=name, unit="", values=[value]))
    return found


def sizes(desk: JobUseCases, url: str) -> list[Measurement]:
    """Measures what a completed job keeps in each table, with its indexes and without free space."""

    def read() -> dict[str, int]:
        tables = ", ".join(row.name for row in desk.sql(SIZES))
        many_rows.administer(url, f"VACUUM FULL {tables}")
        return {row.name: row.bytes for row in desk.sql(SIZES)}

    before = read()
    for _ in range(STORED):
        many_rows.complete(desk)
    desk.sql("DELETE FROM outbox")
    grown = {name: (size - before[name]) / STORED for name, size in read().items()}
    tables = {name: size for name, size in grown.items() if size > 0 and name != "outbox"}
    return [
        Measurement(part="stored per job", name=name, unit="bytes", values=[size])
        for name, size in [*tables.items(), ("all", sum(tables.values()))]
    ]


async def message_sizes(desk: JobUseCases, database: Database, url: str) -> list[Measurement]:
    """Publishes the messages of one job and a fact; measures what they take in the streams."""
    async with broker_at(url) as broker:
        desk.create(tenant="acme")
        [claimed] = desk.claim()
        call = desk.begin(claimed.job)
        await facts.publish(broker, [facts.images_generated(desk.job(claimed.job.id), call)])
        await OutboxRelay(database, broker).run_once()
        client = await nats.connect(url)
        found = []
        for info in await client.jetstream().streams_info():
            if info.state.messages:
                size = info.state.bytes / info.state.messages
                name = f"a message of {info.config.name}"
                found.append(Measurement(part="messages per job", name=name, unit="bytes", values=[size]))
        await client.close()
    return found


def run() -> list[Measurement]:
    """Counts everything."""
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_servers.postgres_server(Path(folder) / "postgres") as server,
        embedded_servers.nats_server(Path(folder) / "nats") as broker,
    ):
        template = embedded_servers.make_template(server.url)
        url = embedded_servers.copy_database(server.url, template)
        with use_cases_at(url) as desk:
            _without_page_images(url)

            async def publish() -> list[Measurement]:
                database = Database(url, application="benchmark", pool_size=2)
                found = await message_sizes(desk, database, broker.url)
                await database.close()
                return found

            found = asyncio.run(publish())
            return count_stages(desk, lambda: desk.run(_relay)) + found + sizes(desk, url)


def _relay(connection: Connection) -> None:
    """The relay's statements for all messages, without publishing."""
    due = outbox.claim(connection, limit=256, seconds=5)
    outbox.delete(connection, [row.id for row in due])


def _without_page_images(url: str) -> None:
    """Keeps whole pages out of the write-ahead log: how many there are depends on the time since a checkpoint."""
    many_rows.administer(url, "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
