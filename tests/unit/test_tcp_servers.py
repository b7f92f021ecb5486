"""Tests' own servers leave nothing behind."""

import asyncio
from contextlib import suppress

import pytest

from tests.support.patience import PATIENCE
from tests.support.servers.tcp_servers import connection, tcp_server


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


async def _asked(port: int) -> None:
    async with connection("127.0.0.1", port) as (reader, _):
        await reader.read()


async def test_what_its_handler_raises_fails_the_test() -> None:
    failed = tcp_server(_fail)
    await _asked(await failed.__aenter__())

    with pytest.raises(ExceptionGroup, match="a server of the test failed"):
        await failed.__aexit__(None, None, None)
