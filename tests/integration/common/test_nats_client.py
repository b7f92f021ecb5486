"""The transport of the NATS client: a lost connection is a connection error on every event loop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import uvloop

from cli.stack.ports import free_port
from common.nats_client import LossReportingTransport, connected, is_refused
from tests.support.patience import PATIENCE
from tests.support.proxies.resetting_proxy import resetting_proxy
from tests.support.servers.embedded_servers import NATS_PASSWORDS, Server
from tests.support.servers.tcp_servers import connection, tcp_server

Run = Callable[[Coroutine[Any, Any, None]], None]
#: Services run on uvloop, whose transports raise other errors than those of asyncio.
LOOPS = [pytest.param(asyncio.run, id="asyncio"), pytest.param(uvloop.run, id="uvloop")]


async def lost_transport(server_url: str) -> LossReportingTransport:
    """A transport whose connection was reset by the server."""
    transport = LossReportingTransport()
    async with resetting_proxy(server_url) as proxy:
        proxy.resets = 1
        await transport.connect(urlsplit(proxy.url), 1024, 5)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(read_all(transport), PATIENCE)
    return transport


async def read_all(transport: LossReportingTransport) -> None:
    """Read to the end: the greeting may come through before the reset."""
    while await transport.read(1024):
        pass


@pytest.mark.parametrize("run", LOOPS)
def test_writing_to_a_lost_connection_raises_a_connection_error(nats: Server, run: Run) -> None:
    async def write() -> None:
        transport = await lost_transport(nats.url)
        with pytest.raises(ConnectionResetError):
            transport.writelines([b"PING\r\n"])
        transport.write(b"PING\r\n")
        with pytest.raises(ConnectionResetError):
            await transport.drain()

    run(write())


@pytest.mark.parametrize("run", LOOPS)
def test_a_client_that_closes_drops_what_cannot_be_sent(nats: Server, run: Run) -> None:
    async def write() -> None:
        transport = await lost_transport(nats.url)
        transport.drops_unsent = True
        transport.write(b"PING\r\n")
        transport.writelines([b"PING\r\n"])
        await transport.drain()
        transport.close()

    run(write())


@pytest.mark.parametrize("run", LOOPS)
def test_a_transport_reports_losses_again_after_a_new_connection(nats: Server, run: Run) -> None:
    async def write() -> None:
        transport = await lost_transport(nats.url)
        transport.drops_unsent = True
        await transport.connect(urlsplit(nats.url), 1024, 5)
        await transport.drain()
        transport.close()
        with pytest.raises(ConnectionResetError):
            await transport.drain()
        await transport.wait_closed()

    run(write())


async def test_a_transport_that_was_never_connected_is_lost() -> None:
    with pytest.raises(ConnectionResetError):
        LossReportingTransport().writelines([b"PING\r\n"])


#: First lines of a server that is cut off, or of none; and what is no greeting at all.
ODD_GREETINGS = (
    b"",
    b"I",
    b"INFO",
    b"INFO\r\n",
    b"INFO \r\n",
    b"INFO []\r\n",
    b"INFO {\r\n",
    b'INFO {"a": 1\r\n',
    b"\xff\r\n",
)


async def test_a_client_outlives_any_greeting_and_reconnects(nats: Server) -> None:
    broker = urlsplit(nats.url)
    left = list(ODD_GREETINGS)
    open_connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if open_connections and left:
            writer.write(left.pop(0))
            return
        open_connections.append(writer)
        async with connection(broker.hostname or "", broker.port or 0) as (from_broker, to_broker):
            await asyncio.gather(_copy(reader, to_broker), _copy(from_broker, writer))

    reconnected = asyncio.Event()

    async def told() -> None:
        reconnected.set()

    async with tcp_server(serve) as port:
        client = await connected(
            f"nats://127.0.0.1:{port}",
            user=broker.username,
            password=broker.password,
            reconnect_time_wait=0.01,
            max_reconnect_attempts=-1,
            reconnected_cb=told,
        )
        open_connections[0].close()
        await asyncio.wait_for(reconnected.wait(), PATIENCE)
        await client.flush()
        await client.close()

    assert left == []


async def test_of_several_servers_one_that_is_there_is_used(nats: Server) -> None:
    away = f"nats://127.0.0.1:{free_port()}"
    client = await connected(f"{away},{nats.url},{away}")
    await client.flush()
    await client.close()


async def test_a_client_outlives_a_change_of_its_password_and_comes_back_with_the_old_one(nats: Server) -> None:
    known, refused, back = NATS_PASSWORDS["operator"], asyncio.Event(), asyncio.Event()

    async def failed(error: Exception) -> None:
        if is_refused(error):
            refused.set()

    async def told() -> None:
        back.set()

    client = await connected(
        nats.url, reconnect_time_wait=0.01, max_reconnect_attempts=-1, reconnected_cb=told, error_cb=failed
    )
    for old, new, until in ((known, "another", refused), ("another", known, back)):
        reconfigure(nats, old, new)
        await asyncio.wait_for(until.wait(), PATIENCE)
    await client.flush()
    await client.close()


def reconfigure(server: Server, old: str, new: str) -> None:
    """Have the running server read its configuration again, with one text in another's place."""
    process = psutil.Process(server.child.pid)
    configuration = Path(process.cmdline()[-1])
    configuration.write_text(configuration.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    process.send_signal(signal.SIGHUP)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(4096):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()
