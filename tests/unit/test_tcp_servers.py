"""Tests' own servers leave nothing behind."""

import asyncio
import socket
from contextlib import suppress

import pytest

from tests.support.patience import PATIENCE
from tests.support.servers.hostile_receivers import Receiver, receiver
from tests.support.servers.tcp_servers import connection, tcp_server

#: Bytes: as small as a buffer of the operating system gets, and a response that is much larger.
SMALL = 2_048
UNREAD = 60_000


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise ValueError("a defect of the test")


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_at_the_end_is_closed_by_it(turns: int) -> None:
    async with tcp_server(_hang) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(turns):
            await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()


async def test_a_response_that_nobody_reads_ends_with_the_server() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        writer.write(bytes(UNREAD))
        responded.set()

    async def behave(_: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await respond(reader, writer)

    for server in (tcp_server(respond), receiver(behave)):
        responded = asyncio.Event()
        async with server as running:
            port = running if isinstance(running, int) else running.port
            client = await _connected_with_small_buffer(port)
            await asyncio.wait_for(responded.wait(), PATIENCE)
        assert await _received(client) < UNREAD


async def _connected_with_small_buffer(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def _received(client: socket.socket) -> int:
    """How many bytes come until the end; closes the socket."""
    count = 0
    with client, suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while got := await asyncio.get_running_loop().sock_recv(client, 65_536):
                count += len(got)
    return count


async def _asked(port: int) -> None:
    async with connection("127.0.0.1", port) as (reader, _):
        await reader.read()


async def test_what_its_handler_raises_fails_the_test() -> None:
    failed = tcp_server(_fail)
    await _asked(await failed.__aenter__())

    with pytest.raises(ExceptionGroup, match="a server of the test failed"):
        await failed.__aexit__(None, None, None)
