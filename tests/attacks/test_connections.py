"""Connections of a client that nobody knows: they take the gateway away from nobody else."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest

from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal
from gateway.http.connection import HttpConnection
from gateway.http.connection_limits import peer_of
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE

KEY = "acme-key"
KEYRING = Keyring([Principal(tenant="acme", key_sha256=hashlib.sha256(KEY.encode()).hexdigest())])
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
KNOWN = f"GET /v1/providers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
BEGUN = b"GET /v1/jobs HTTP/1.1\r\nHost: a\r\n"
MOST, STRANGERS = 8, 4


class Small(HttpConnection):
    """As in production, with fewer beside it, and time for a busy machine."""

    connection_limit = unknown_client_limit = MOST
    idle_grace_seconds = 0.0
    head_seconds = stalled_seconds = PATIENCE


class Bounded(Small):
    """With fewer of one client that has shown no key."""

    unknown_client_limit = STRANGERS


class Sparing(Bounded):
    """Closes no connection that has only just come."""

    idle_grace_seconds = PATIENCE


@asynccontextmanager
async def gateway(protocol: type[HttpConnection]) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that knows one key and asks everybody for one."""
    authenticator = Authenticator(KEYRING)
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=authenticator) as (app, parts),
        over_http(app, parts, protocol=protocol) as client,
    ):
        yield client


class Wire:
    """A connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, sent: bytes) -> int:
        """Send a request; the status of its answer, 0 if the connection ends instead."""
        self.writer.write(sent)
        try:
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(length)
        return int(head.split(b" ")[1])

    async def ended(self) -> bool:
        """Whether the gateway ends it; waits until it does."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(self._reader.read(), PATIENCE) == b""
        return True


@asynccontextmanager
async def wires(client: httpx.AsyncClient, count: int) -> AsyncIterator[list[Wire]]:
    """So many connections."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            wire = Wire(*await asyncio.open_connection(client.base_url.host, client.base_url.port))
            stack.callback(wire.writer.close)
            opened.append(wire)
        yield opened


async def test_kept_connections_that_do_nothing_refuse_nobody() -> None:
    async with gateway(Small) as client, wires(client, MOST) as held:
        assert [await one.ask(ALIVE) for one in held] == [200] * MOST
        async with wires(client, MOST) as others:
            assert [await one.ask(KNOWN) for one in others] == [200] * MOST


async def test_connections_that_never_ask_refuse_nobody() -> None:
    async with gateway(Small) as client, wires(client, 3 * MOST), wires(client, 1) as [known]:
        assert await known.ask(KNOWN) == 200


async def test_the_oldest_idle_connection_goes_first_and_none_with_a_request() -> None:
    async with gateway(Small) as client, wires(client, MOST) as held:
        for one in held:
            assert await one.ask(ALIVE) == 200
        # The first is busy again, and the second was used after the third.
        held[0].writer.write(BEGUN)
        assert await held[1].ask(ALIVE) == 200
        async with wires(client, 1) as [new]:
            assert await new.ask(ALIVE) == 200
            assert await held[2].ended()
            assert await held[0].ask(b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n") == 200
            assert [await one.ask(ALIVE) for one in (held[1], *held[3:])] == [200] * (MOST - 2)


async def test_one_client_without_a_key_has_a_part_of_the_connections() -> None:
    async with gateway(Bounded) as client, wires(client, STRANGERS) as held:
        for one in held:
            one.writer.write(BEGUN)
            await one.writer.drain()
        async with wires(client, 1) as [another]:
            assert await another.ask(BEGUN + b"\r\n") == 503
        assert await held[0].ask(b"\r\n") == 401


async def test_of_many_connections_at_once_none_is_closed_before_its_request_is_read() -> None:
    async with gateway(Sparing) as client, wires(client, 3 * MOST) as held:
        answered = await asyncio.gather(*(one.ask(KNOWN) for one in held))

    # Some may have to ask again; 0 would be an end without an answer.
    assert set(answered) <= {200, 503}


async def test_a_client_that_has_shown_its_key_may_have_all_of_them() -> None:
    async with gateway(Bounded) as client, AsyncExitStack() as stack:
        held = []
        for _ in range(MOST):
            [one] = await stack.enter_async_context(wires(client, 1))
            assert await one.ask(KNOWN) == 200
            held.append(one)
        assert [await one.ask(KNOWN) for one in held] == [200] * MOST


async def test_a_key_that_nobody_knows_counts_for_nothing() -> None:
    wrong = KNOWN.replace(KEY.encode(), b"wrong")
    async with gateway(Bounded) as client, wires(client, MOST) as held:
        answered = [await one.ask(wrong) for one in held]

    # Each new one took the place of an idle one.
    assert answered.count(401) + answered.count(0) == MOST
    assert answered.count(0) <= MOST - STRANGERS


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_one_client_has_many_addresses_of_ipv6(address: str, other: str, is_same: bool) -> None:
    assert (peer_of(address) == peer_of(other)) is is_same
