"""Connections of clients that send nonsense, or nothing, or take nothing."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest
from fastapi import Request, Response

from gateway.connections import Connection
from tests.support.fake_job_service import FakeJobService, serving
from tests.support.gateway import assembled, over_http

LARGE = 32 * 1024 * 1024


class Hasty(Connection):
    """Waits for less time, and for fewer, than in production."""

    most = 3
    head_seconds = 0.3
    stalled_seconds = 0.3


@pytest.fixture
async def gateway(service: FakeJobService) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with an answer that fills every buffer on its way."""
    async with serving(service) as address, assembled(address) as (app, parts):

        @app.get("/large")
        async def large(request: Request) -> Response:
            return Response(bytes(LARGE))

        async with over_http(app, parts, protocol=Hasty) as client:
            yield client


@asynccontextmanager
async def _connected(client: httpx.AsyncClient) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side ends; nothing more when it cuts."""
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is not HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_nonsense_on_the_wire_is_a_problem(gateway: httpx.AsyncClient, sent: bytes) -> None:
    async with _connected(gateway) as (reader, writer):
        writer.write(sent)
        head, _, body = (await _rest(reader)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert b"nosniff" in head
    assert json.loads(body)["reason"] == "MALFORMED"


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_head_that_does_not_come_ends_the_connection(gateway: httpx.AsyncClient, sent: bytes) -> None:
    async with _connected(gateway) as (reader, writer):
        writer.write(sent)
        assert await _rest(reader) == b""


async def test_a_second_head_that_does_not_come_ends_the_connection(gateway: httpx.AsyncClient) -> None:
    async with _connected(gateway) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        assert b"HTTP/1.1" not in await _rest(reader)


async def test_with_too_many_connections_requests_are_refused_but_for_those_of_orchestrators(
    gateway: httpx.AsyncClient,
) -> None:
    async with AsyncExitStack() as open_ones:
        held = [await open_ones.enter_async_context(_connected(gateway)) for _ in range(3)]
        # Begun, so that each of them is held for as long as a head may take.
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\n")
        refused = await gateway.get("/v1/jobs", headers={"Connection": "close"})
        spoken = await gateway.get("/v1/models", headers={"Connection": "close"})
        asked = await gateway.get("/healthz")
    assert (refused.status_code, refused.json()["reason"]) == (503, "SERVICE_UNAVAILABLE")
    assert refused.headers["retry-after"] == "2"
    assert (refused.headers["connection"], refused.headers["x-content-type-options"]) == ("close", "nosniff")
    assert (spoken.status_code, spoken.json()["error"]["code"]) == (503, "service_unavailable")
    assert asked.status_code == 200


async def test_a_client_that_takes_nothing_is_cut_and_a_slow_one_is_not(gateway: httpx.AsyncClient) -> None:
    ends = []
    for bytes_a_time in (0, LARGE // 10):
        with socket.socket() as taker:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            taker.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(taker, (gateway.base_url.host, gateway.base_url.port))
            await loop.sock_sendall(taker, b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            ends.append(await _taken(taker, bytes_a_time))

    assert ends[0] < LARGE < ends[1]


async def _taken(taker: socket.socket, bytes_a_time: int) -> int:
    """How much arrives when so much is taken, then nothing for a while, and so on."""
    loop, taken = asyncio.get_running_loop(), 0
    while True:
        # Nothing happens that could be waited for: the point is that time passes.
        await asyncio.sleep(0.15 if bytes_a_time else 2)
        wanted = taken + (bytes_a_time or LARGE)
        while taken < wanted:
            try:
                got = await loop.sock_recv(taker, 65_536)
            except ConnectionResetError:
                return taken
            if not got:
                return taken
            taken += len(got)
