"""Connections of clients that send nonsense, or nothing, or take nothing."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest
from fastapi import Request, Response

from gateway.http.connection import HttpConnection
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE

LARGE = 32 * 1024 * 1024
#: Seconds that a test waits for the end of the gateway's patience.
SOON = 0.3


class Watched(HttpConnection):
    """Has fewer beside it than in production, all the time that a busy machine needs, and tells what becomes of it."""

    connection_limit = 3
    head_seconds = stalled_seconds = PATIENCE
    #: When a client takes too little, with what was left for it; and whether a connection has ended.
    stalls: asyncio.Queue[tuple["Watched", int]]
    cut: asyncio.Event

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        Watched.cut.set()

    def _start_stall_timer(self, than: int) -> None:
        Watched.stalls.put_nowait((self, than))
        super()._start_stall_timer(than)


@pytest.fixture
async def gateway(service: FakeJobService) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with an answer that fills every buffer on its way."""
    Watched.stalls, Watched.cut = asyncio.Queue(), asyncio.Event()
    async with serving(service) as address, assembled(address) as (app, parts):

        @app.get("/large")
        async def large(request: Request) -> Response:
            return Response(bytes(LARGE))

        async with over_http(app, parts, protocol=Watched) as client:
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
        return await asyncio.wait_for(reader.read(), PATIENCE)
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
async def test_a_head_that_does_not_come_ends_the_connection(
    gateway: httpx.AsyncClient, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "head_seconds", SOON)
    async with _connected(gateway) as (reader, writer):
        writer.write(sent)
        assert await _rest(reader) == b""


async def test_a_second_head_that_does_not_come_ends_the_connection(
    gateway: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _connected(gateway) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(Watched, "head_seconds", SOON)
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


@asynccontextmanager
async def _asks_for_much(gateway: httpx.AsyncClient) -> AsyncIterator[socket.socket]:
    """A client of small buffers that has asked for the large answer and takes nothing of it by itself."""
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        taker.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(taker, (gateway.base_url.host, gateway.base_url.port))
        await loop.sock_sendall(taker, b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        yield taker


async def _take(taker: socket.socket, most: int) -> int:
    """Take so much, or what there is until the other side ends; how much it was."""
    loop, taken = asyncio.get_running_loop(), 0
    while taken < most:
        try:
            got = await loop.sock_recv(taker, 65_536)
        except ConnectionResetError:
            break
        if not got:
            break
        taken += len(got)
    return taken


async def test_a_client_that_takes_nothing_is_cut(gateway: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "stalled_seconds", SOON)
    async with asyncio.timeout(PATIENCE), _asks_for_much(gateway) as taker:
        await Watched.cut.wait()
        assert await _take(taker, LARGE) < LARGE


async def test_a_client_that_takes_little_at_a_time_is_not_cut(gateway: httpx.AsyncClient) -> None:
    taken = 0
    async with asyncio.timeout(PATIENCE), _asks_for_much(gateway) as taker:
        while taken < LARGE // 2:
            # The time that it has is over as soon as it has taken a little: on a clock, a busy machine would cut it.
            connection, before = await Watched.stalls.get()
            taken += await _take(taker, LARGE // 10)
            connection._check_stall(before)
        assert not Watched.cut.is_set()
        taken += await _take(taker, 2 * LARGE)
    assert taken > LARGE
