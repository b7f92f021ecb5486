"""A broker whose disk was full does its work again once there is room, with all that it had confirmed."""

import asyncio
import resource
import sys
from pathlib import Path

import pytest
from calotype import streams

from cli.stack.child import Child
from cli.stack.supervisor import Supervisor
from common.jetstream import BrokerUnavailable, JetStream
from tests.support.brokers.facts import broker_at
from tests.support.patience import PATIENCE, pause
from tests.support.servers.embedded_servers import nats_program
from tests.support.servers.reaper import reaped

SUBJECT = f"{streams.FACT_GENERATION}.images_generated"
#: Of one file, in bytes: there is room for what a start writes, and for a few facts.
ROOM = 20_000


class Clock:
    """A second passes with each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


async def publish(broker: JetStream, number: int) -> None:
    """A fact. Raises `BrokerUnavailable` when the broker does not confirm."""
    await broker.publish(SUBJECT, b"x" * 4000, message_id=str(number), headers={}, timeout=0.5)


async def fill(broker: JetStream) -> int:
    """Publish until there is no room; returns how many were confirmed."""
    for number in range(100):
        try:
            await publish(broker, number)
        except BrokerUnavailable:
            return number
    raise AssertionError("there was room for everything")


@pytest.mark.skipif(sys.platform != "linux", reason="a running process is given less room on Linux only")
async def test_a_broker_that_refuses_writes_after_a_full_disk_is_started_again_and_has_kept_everything(
    tmp_path: Path,
) -> None:
    program, url = nats_program(tmp_path / "data", log=tmp_path / "nats.log")
    child, told = Child(program), list[str]()
    supervisor = Supervisor(report=told.append, changed=lambda: None, now=Clock())
    supervisor.start(child)
    try:
        confirmed, kept = await _through_a_full_disk(child, supervisor, url)
    finally:
        child.stop(PATIENCE)

    assert kept == confirmed + 1
    assert "reports that it cannot work" in told[0]


async def _through_a_full_disk(child: Child, supervisor: Supervisor, url: str) -> tuple[int, int]:
    """Facts that were confirmed before and while there was no room, and those that are there after one more."""
    with reaped(child.pid):
        await asyncio.to_thread(child.wait_ready, PATIENCE)
        async with broker_at(url) as broker:
            most, limit = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
            # The server meets it as it meets a full disk: no byte more, from one moment to the next.
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (ROOM, limit))
            confirmed = await fill(broker)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (most, limit))
            with pytest.raises(BrokerUnavailable):
                await publish(broker, confirmed)
            async with asyncio.timeout(PATIENCE):
                while not await asyncio.to_thread(supervisor.run_once):
                    await pause()
    with reaped(child.pid):
        await asyncio.to_thread(child.wait_ready, PATIENCE)
        async with broker_at(url) as broker:
            await publish(broker, confirmed)
            return confirmed, int((await broker.context.stream_info(streams.FACTS["name"])).state.messages)
