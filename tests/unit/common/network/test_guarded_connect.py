"""Connections lead to checked addresses alone."""

import asyncio
import socket
from collections.abc import Iterable, Sequence

import httpcore
import pytest

from common.network.guarded_connect import (
    DEFAULT_PORTS,
    MAX_ADDRESSES,
    AddressPolicy,
    ForbiddenAddress,
    GuardedBackend,
    UnresolvedName,
    require_peer,
)
from tests.support.servers.tcp_servers import tcp_server

ANYWHERE = AddressPolicy(allow_private=True, ports=None)


class Answers:
    """A resolver that answers as scripted: the n-th question gets the n-th answer, then the last again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = answers
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


class Stream(httpcore.AsyncMockStream):
    """A connection with a peer."""

    def __init__(self, peer: str, port: int) -> None:
        super().__init__([])
        self._peer = (peer, port)
        self.is_closed = False

    def get_extra_info(self, info: str) -> object:
        return self._peer if info == "server_addr" else None

    async def aclose(self) -> None:
        self.is_closed = True


class Connections(httpcore.AsyncNetworkBackend):
    """Opens no connection to addresses that `fail`; all others lead to `peer`, if given."""

    def __init__(self, *, fail: Iterable[str] = (), peer: str | None = None) -> None:
        self._fail = set(fail)
        self._peer = peer
        #: Addresses that were tried, and the seconds for each.
        self.tried: list[tuple[str, float | None]] = []
        self.streams: list[Stream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.tried.append((host, timeout))
        if host in self._fail:
            raise httpcore.ConnectTimeout
        self.streams.append(Stream(host if self._peer is None else self._peer, port))
        return self.streams[-1]


@pytest.mark.parametrize(
    ("addresses", "public_only", "private_too"),
    [
        (["1.1.1.1"], True, True),
        (["1.1.1.1", "2606:4700::1111"], True, True),
        (["10.0.0.1"], False, True),
        (["1.1.1.1", "10.0.0.1"], False, True),
        (["127.0.0.1", "::1"], False, True),
        (["169.254.169.254"], False, False),
        (["10.0.0.1", "169.254.169.254"], False, False),
        (["fe80::1"], False, False),
        (["100.100.100.200"], False, False),
        (["fd00:ec2::254"], False, False),
        (["::ffff:127.0.0.1"], False, False),
        (["64:ff9b::a9fe:a9fe"], False, False),
        (["0.0.0.0"], False, False),
        (["nonsense"], False, False),
        ([], False, False),
    ],
)
def test_all_addresses_must_be_allowed(addresses: Sequence[str], public_only: bool, private_too: bool) -> None:
    assert AddressPolicy().may_reach("host.test", 443, addresses) is public_only
    assert AddressPolicy(allow_private=True).may_reach("host.test", 443, addresses) is private_too


@pytest.mark.parametrize("port", [22, 25, 6379, 0, 65535])
def test_other_ports_than_those_of_web_servers_are_not_allowed(port: int) -> None:
    assert not AddressPolicy().may_reach("host.test", port, ["1.1.1.1"])
    assert not AddressPolicy().allows_literal("host.test", port)
    assert AddressPolicy(ports=None).may_reach("host.test", port, ["1.1.1.1"])
    assert all(AddressPolicy().may_reach("host.test", web, ["1.1.1.1"]) for web in DEFAULT_PORTS)


def test_names_are_allowed_literally_and_literal_addresses_by_their_network() -> None:
    policy = AddressPolicy()

    assert policy.allows_literal("host.test", 443)
    assert policy.allows_literal("1.1.1.1", 443)
    assert not policy.allows_literal("127.1", 443)
    assert not policy.allows_literal("fe80::1%eth0", 443)
    assert AddressPolicy(allow_private=True).allows_literal("127.1", 443)
    assert not AddressPolicy(allow_private=True).allows_literal("169.254.169.254", 443)


async def test_a_connection_leads_to_a_checked_address() -> None:
    async with tcp_server(lambda _, __: asyncio.sleep(0)) as port:
        resolver = Answers(["127.0.0.1"], ["203.0.113.1"])
        stream = await GuardedBackend(ANYWHERE, resolver=resolver).connect_tcp("changing.test", port)

        assert stream.get_extra_info("server_addr")[:2] == ("127.0.0.1", port)
        assert resolver.asked == 1
        await stream.aclose()


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["1.1.1.1", "169.254.169.254"], []])
async def test_nothing_is_connected_when_one_address_is_forbidden(addresses: Sequence[str]) -> None:
    connections = Connections()
    backend = GuardedBackend(AddressPolicy(), resolver=Answers(addresses), backend=connections)

    with pytest.raises(ForbiddenAddress):
        await backend.connect_tcp("host.test", 443)

    assert connections.tried == []


async def test_a_connection_that_has_ended_already_is_no_connection() -> None:
    class Ended(Stream):
        def get_extra_info(self, info: str) -> object:
            return None

    stream = Ended("", 443)

    with pytest.raises(httpcore.ConnectError):
        await require_peer(stream, "1.1.1.1")

    assert stream.is_closed


@pytest.mark.parametrize("peer", ["127.0.0.1", "1.1.1.2", "", "::ffff:1.1.1.1"])
async def test_a_connection_that_leads_elsewhere_is_closed(peer: str) -> None:
    elsewhere = Connections(peer=peer)
    backend = GuardedBackend(AddressPolicy(), resolver=Answers(["1.1.1.1"]), backend=elsewhere)

    with pytest.raises(ForbiddenAddress):
        await backend.connect_tcp("host.test", 443)

    assert elsewhere.streams[0].is_closed


async def test_the_next_address_is_tried_and_the_first_ones_leave_time_for_it() -> None:
    connections = Connections(fail=["1.1.1.1", "1.1.1.2"])
    resolver = Answers(["1.1.1.1", "1.1.1.1", "1.1.1.2", "1.1.1.3"])
    backend = GuardedBackend(AddressPolicy(), resolver=resolver, backend=connections)

    stream = await backend.connect_tcp("host.test", 443, timeout=20)

    assert stream.get_extra_info("server_addr") == ("1.1.1.3", 443)
    assert [address for address, _ in connections.tried] == ["1.1.1.1", "1.1.1.2", "1.1.1.3"]
    assert [seconds for _, seconds in connections.tried[:2]] == [3.0, 3.0]
    assert 10 < (connections.tried[2][1] or 0) <= 20


async def test_so_many_addresses_are_tried_and_no_more() -> None:
    addresses = [f"1.1.1.{number}" for number in range(1, 10)]
    connections = Connections(fail=addresses)
    backend = GuardedBackend(AddressPolicy(), resolver=Answers(addresses), backend=connections)

    with pytest.raises(httpcore.ConnectTimeout):
        await backend.connect_tcp("host.test", 443, timeout=20)

    assert [address for address, _ in connections.tried] == addresses[:MAX_ADDRESSES]


async def test_a_resolver_that_hangs_ends_with_the_time() -> None:
    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(UnresolvedName):
        await GuardedBackend(AddressPolicy(), resolver=hang).connect_tcp("host.test", 443, timeout=0.01)


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "no"), UnicodeError("no"), ValueError("no")])
async def test_a_name_that_cannot_be_resolved_is_one_error(error: Exception) -> None:
    async def fail(host: str, port: int) -> Sequence[str]:
        raise error

    with pytest.raises(UnresolvedName):
        await GuardedBackend(AddressPolicy(), resolver=fail).connect_tcp("host.test", 443)
