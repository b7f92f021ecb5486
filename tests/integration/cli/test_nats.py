"""The embedded broker: what an earlier version left in its folder, and what it says of itself."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from calotype import streams
from calotype.broker_users import MONITOR

from cli.stack import nats
from cli.stack.child import Child, Program
from cli.stack.ports import free_port
from cli.stack.readiness import nats_ok
from common.jetstream import JetStream
from tests.support.brokers.facts import SUBJECT, broker_at
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import NATS_PASSWORDS, nats_program
from tests.support.servers.reaper import reaped

#: As versions before users wrote it.
WITHOUT_USERS = 'listen: "127.0.0.1:{port}"\njetstream {{store_dir: {store}, sync_interval: always}}\n'


@asynccontextmanager
async def running(program: Program, url: str) -> AsyncIterator[JetStream]:
    """The server until the end of the block, and a connection to it with all streams declared."""
    child = Child(program)
    child.start()
    with reaped(child.pid):
        try:
            await asyncio.to_thread(child.wait_ready, PATIENCE)
            async with broker_at(url) as broker:
                yield broker
        finally:
            await asyncio.to_thread(child.stop, PATIENCE)


async def test_a_folder_of_a_version_without_users_keeps_its_messages(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    program, url = nats_program(data, log=tmp_path / "log")
    store = json.dumps(str(data / "store"))
    (data / "nats.conf").write_text(WITHOUT_USERS.format(port=port, store=store), encoding="utf-8")
    (data / "nats.conf").chmod(0o644)
    data.chmod(0o755)
    old_url = f"nats://127.0.0.1:{port}"
    async with running(replace(program, is_ready=lambda: nats_ok(old_url)), old_url) as broker:
        await broker.publish(SUBJECT, b"not folded yet", message_id="1", headers={"ce-type": "test"})
        await broker.publish(streams.DEAD_FACT, b"a letter", message_id="2", headers={})

    for _ in range(2):
        program, url = nats_program(data, log=tmp_path / "log")
        assert [stat.S_IMODE(one.stat().st_mode) for one in (data, data / "nats.conf")] == [0o700, 0o600]
        async with running(program, url) as broker:
            fact = await broker.stored(streams.FACTS["name"], 1, subject=SUBJECT)
            letter = await broker.stored(streams.DEAD_LETTERS["name"], 1, subject=streams.DEAD_FACT)
            assert (fact and fact.body, letter and letter.body) == (b"not folded yet", b"a letter")
            # In the same duplicate window, too.
            await broker.publish(SUBJECT, b"not folded yet", message_id="1", headers={})
            assert await broker.sequences(streams.FACTS["name"]) == (1, 1)


@pytest.mark.parametrize(("interval", "writes"), [("always", True), ("2m", False)])
async def test_whether_each_message_is_written_before_it_is_confirmed_is_asked_of_the_broker(
    tmp_path: Path, interval: str, writes: bool
) -> None:
    program, url = nats_program(tmp_path / "data", log=tmp_path / "log")
    configuration = tmp_path / "data" / "nats.conf"
    text = configuration.read_text(encoding="utf-8").replace("sync_interval: always", f"sync_interval: {interval}")
    configuration.write_text(text, encoding="utf-8")
    address = f"nats://{urlsplit(url).netloc.rpartition('@')[2]}"
    monitor = nats.as_user(address, MONITOR.name, NATS_PASSWORDS)
    async with running(program, url):
        assert await asyncio.to_thread(nats.writes_each_message, monitor) is writes
        for nobody in (address, url, nats.as_user(address, MONITOR.name, {MONITOR.name: "wrong"})):
            assert await asyncio.to_thread(nats.writes_each_message, nobody) is None

    assert await asyncio.to_thread(nats.writes_each_message, monitor) is None
