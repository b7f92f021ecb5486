"""The broker may be away at the start, go, come back, and forget everything."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from calotype import streams

from cli.stack.child import Child
from cli.stack.ports import free_port
from common.declarations import ConsumerSpec, StreamSpec
from common.health import Readiness
from common.jetstream import BrokerUnavailable, MessageTooLarge, connect
from common.loops import Stopped
from common.pulling import Subscription
from tests.support.brokers.facts import broker_at
from tests.support.patience import PATIENCE, pause
from tests.support.proxies.resetting_proxy import resetting_proxy
from tests.support.servers.embedded_servers import Server, nats_program

DECLARED = [StreamSpec(**stream) for stream in streams.STREAMS]
WAKE_UPS = ConsumerSpec(**streams.GENERATOR_WAKE)
Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Services run on uvloop, whose transports raise other errors than those of asyncio.
LOOPS = [pytest.param(asyncio.run, id="asyncio"), pytest.param(uvloop.run, id="uvloop")]


async def test_a_process_that_waits_for_the_broker_can_be_stopped() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stop.set)

    with pytest.raises(Stopped):
        async with asyncio.timeout(PATIENCE), connect("nats://127.0.0.1:1", name="test", streams=DECLARED, stop=stop):
            pass


async def test_a_broker_that_comes_late_is_found(tmp_path: Path) -> None:
    port = free_port()
    program, url = nats_program(tmp_path / "data", log=tmp_path / "log", port=port)
    connecting = asyncio.create_task(_publish_once(url))
    child = Child(program)
    child.start()
    await asyncio.to_thread(child.wait_ready, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        await connecting
    child.stop(PATIENCE)


async def test_a_broker_without_room_for_the_streams_takes_facts_once_there_is_some(tmp_path: Path) -> None:
    program, url = nats_program(tmp_path / "data", log=tmp_path / "log")
    configuration, ready = tmp_path / "data" / "nats.conf", Readiness("broker")
    enough = configuration.read_text(encoding="utf-8")
    configuration.write_text(enough.replace("max_file_store: 8GB", "max_file_store: 1MB"), encoding="utf-8")
    child = Child(program)
    child.start()
    await asyncio.to_thread(child.wait_ready, PATIENCE)
    try:
        async with connect(url, name="test", streams=DECLARED, ready=ready) as broker:
            with pytest.raises(BrokerUnavailable):
                await broker.publish(streams.WAKE_GENERATE, b"", message_id="1", headers={}, timeout=0.5)
            was_ready = ready.ok
            configuration.write_text(enough, encoding="utf-8")
            await asyncio.to_thread(child.stop, PATIENCE)
            child.start()
            async with asyncio.timeout(PATIENCE):
                while not ready.ok:
                    await pause()
            await broker.publish(streams.WAKE_GENERATE, b"", message_id="1", headers={}, timeout=PATIENCE)
    finally:
        child.stop(PATIENCE)

    assert not was_ready


async def test_what_the_broker_never_takes_is_told_from_a_broker_that_is_away(nats: Server) -> None:
    async with broker_at(nats.url) as broker:
        body, headers = b"x" * (broker.max_message_bytes - 100), {"ce-subject": "s" * 100}
        with pytest.raises(MessageTooLarge):
            await broker.publish(streams.WAKE_GENERATE, body, message_id="1", headers=headers)
        # The library counts the body alone; the broker would close the connection.
        fits = broker.max_message_bytes - len(f"NATS/1.0\r\nce-subject: {'s' * 100}\r\nNats-Msg-Id: 1\r\n\r\n")
        await broker.publish(streams.WAKE_GENERATE, b"x" * fits, message_id="1", headers=headers)


async def test_a_broker_that_was_killed_is_used_again(nats: Server) -> None:
    async with broker_at(nats.url) as broker:
        nats.child.kill()
        with pytest.raises(BrokerUnavailable):
            await broker.publish(streams.WAKE_GENERATE, b"", message_id="1", headers={}, timeout=0.5)
        nats.child.start()
        await asyncio.to_thread(nats.child.wait_ready, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await broker.publish(streams.WAKE_GENERATE, b"", message_id="2", headers={})
                    break
                except BrokerUnavailable:
                    await asyncio.to_thread(nats.child.wait_ready, PATIENCE)


@pytest.mark.parametrize("run", LOOPS)
def test_a_connection_is_closed_to_the_end_while_the_broker_is_away(nats: Server, run: Run) -> None:
    async def close_with_unsent_data() -> set[asyncio.Task[Any]]:
        away, ready = asyncio.Event(), Readiness()
        async with connect(nats.url, name="test", streams=DECLARED, ready=ready) as broker:
            ready.listen(lambda is_ready: None if is_ready else away.set())
            subscription = Subscription(broker, WAKE_UPS)
            await subscription.fetch(1, wait_seconds=0.1)
            await asyncio.to_thread(nats.child.stop, PATIENCE)
            async with asyncio.timeout(PATIENCE):
                await away.wait()
            await broker.publish_raw("test.unsent", b"", reply="test.reply")
        left = asyncio.all_tasks() - {asyncio.current_task()}
        # Those that were canceled end at their next turn.
        _, running = await asyncio.wait(left, timeout=PATIENCE) if left else (set(), set())
        return running

    assert run(close_with_unsent_data()) == set()


@pytest.mark.parametrize("run", LOOPS)
def test_a_broker_that_resets_connections_as_it_greets_is_used_again(nats: Server, run: Run) -> None:
    async def reconnect_through_resets() -> bool:
        back, ready = asyncio.Event(), Readiness()
        async with (
            resetting_proxy(nats.url) as proxy,
            connect(proxy.url, name="test", streams=DECLARED, ready=ready) as broker,
        ):
            proxy.resets = 10
            proxy.reset_open()
            ready.listen(lambda is_ready: back.set() if is_ready and not proxy.resets else None)
            async with asyncio.timeout(PATIENCE):
                await back.wait()
            await broker.publish(streams.WAKE_GENERATE, b"", message_id="1", headers={})
            return broker.is_connected

    assert run(reconnect_through_resets())


async def test_one_message_id_is_stored_once(nats_url: str) -> None:
    async with broker_at(nats_url) as broker:
        for _ in range(3):
            await broker.publish(streams.WAKE_GENERATE, b"", message_id="same", headers={})
        info = await broker.context.stream_info("CALOTYPE_WORK")

    assert info.state.messages == 1


async def test_what_was_acknowledged_and_is_kept_can_be_deleted_without_the_rest(nats_url: str) -> None:
    # A stream that keeps what was acknowledged, as one of work does when its broker could not write that down.
    kept = StreamSpec(
        name="KEPT",
        subjects=("kept.*",),
        retention="limits",
        discard="old",
        max_age_seconds=None,
        max_bytes=None,
        duplicate_window_seconds=1,
    )
    async with connect(nats_url, name="test", streams=[kept]) as broker:
        assert await broker.sequences("KEPT") == (1, 0)
        for number in range(5):
            await broker.publish("kept.one", str(number).encode(), message_id=str(number), headers={})
        subscription = Subscription(broker, ConsumerSpec(stream="KEPT", durable="test", subject="kept.*"))
        for message in await subscription.fetch(3, wait_seconds=PATIENCE):
            await message.ack_sync(timeout=PATIENCE)
        floor = await broker.ack_floor("KEPT", "test")
        await broker.delete_up_to("KEPT", floor)

        assert await broker.sequences("KEPT") == (4, 5)
        assert [one.data for one in await subscription.fetch(2, wait_seconds=PATIENCE)] == [b"3", b"4"]
        await subscription.close()


async def test_messages_are_had_as_soon_as_they_are_there(nats_url: str) -> None:
    async with broker_at(nats_url) as broker:
        subscription = Subscription(broker, WAKE_UPS)
        waiting = asyncio.create_task(subscription.fetch(10, wait_seconds=30))
        await broker.publish(streams.WAKE_GENERATE, b"first", message_id="1", headers={})
        async with asyncio.timeout(PATIENCE):
            messages = await waiting
        await subscription.close()

    assert [message.data for message in messages] == [b"first"]


async def test_a_stream_that_was_deleted_is_made_again_for_its_reader(nats_url: str) -> None:
    async with broker_at(nats_url) as broker:
        subscription = Subscription(broker, WAKE_UPS)
        assert await subscription.fetch(1, wait_seconds=0.1) == []
        await broker.context.delete_stream("CALOTYPE_WORK")
        await broker.publish(streams.WAKE_GENERATE, b"again", message_id="1", headers={})
        found = []
        async with asyncio.timeout(PATIENCE):
            while not found:
                found = await subscription.fetch(1, wait_seconds=0.5)
        await subscription.close()

    assert found[0].data == b"again"


async def _publish_once(url: str) -> None:
    async with connect(url, name="test", streams=DECLARED) as broker:
        await broker.declare()
        await broker.publish(streams.WAKE_GENERATE, b"", message_id="1", headers={})
