"""No client of the object store holds a connection by sending half a request."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from cli.stack.object_store import connection
from cli.stack.ports import free_port
from tests.support.patience import PATIENCE, pause

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read all, answer nothing much."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Where a server waits for a tenth of a second for what is missing of a request."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.1)
    port = free_port()
    config = uvicorn.Config(app, port=port, http=connection.HttpConnection, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:
            await pause()
    yield port
    server.should_exit = True
    await serving


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        REQUEST + b"GET / HT",
    ],
)
async def test_half_a_request_is_cut_and_a_connection_that_is_kept_is_not(port: int, half: bytes) -> None:
    kept, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    async with asyncio.timeout(PATIENCE):
        assert (await kept.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        slow, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        slow_writer.write(half)
        try:
            answers = await slow.read()
        except ConnectionResetError:
            answers = b""
        writer.write(REQUEST)
        assert (await kept.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    assert answers.count(b"200 OK") <= half.count(REQUEST)
    for one in (writer, slow_writer):
        one.close()
