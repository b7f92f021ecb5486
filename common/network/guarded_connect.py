"""Connects to hosts that others name with protection against SSRF: only to addresses that were checked.

The check is where the socket is made, so what was checked is what is connected to: a name that resolves differently a
moment later, or a URL that two parsers read differently, changes nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpcore

from common.network.addresses import is_private, is_public, is_same, literal_address
from common.network.resolver import Resolve, resolve

#: Addresses of one host that are tried.
MAX_ADDRESSES = 4
#: Seconds for each address but the last one, so that an address that never responds leaves time for the next.
SECONDS_PER_ADDRESS = 3.0
#: Ports of web servers.
DEFAULT_PORTS = frozenset({80, 443, 8080, 8443})


class ForbiddenAddress(Exception):
    """A host has an address that must not be reached, or no address at all."""


class UnresolvedName(Exception):
    """The addresses of a host could not be found, or not in time."""


class HostPolicy(Protocol):
    """Decides which hosts may be reached."""

    def may_reach(self, host: str, port: int, addresses: Sequence[str]) -> bool:
        """Returns whether all addresses of a host, and its port, are allowed."""


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """Allows public addresses, and private ones on request; link-local addresses and metadata services never."""

    #: Whether private networks are allowed.
    allow_private: bool = False
    #: Allowed ports; None for all.
    ports: frozenset[int] | None = DEFAULT_PORTS

    def may_reach(self, host: str, port: int, addresses: Sequence[str]) -> bool:
        """Returns whether a host's port and all its addresses, at least one, are allowed."""
        return self.allows_port(port) and bool(addresses) and all(map(self.allows, addresses))

    def allows(self, address: str) -> bool:
        """Returns whether an IP address is allowed."""
        return is_public(address) or (self.allow_private and is_private(address))

    def allows_literal(self, host: str, port: int) -> bool:
        """Returns whether a host that is written as an IP address may be reached, and its port; True for a name.

        Any notation counts that a resolver reads as an address, such as 127.1; so does `localhost`.
        """
        address = literal_address(host)
        return self.allows_port(port) and (address is None or self.allows(address))

    def allows_port(self, port: int) -> bool:
        """Returns whether a port is allowed."""
        return self.ports is None or port in self.ports


async def checked_addresses(host: str, port: int, *, policy: HostPolicy, resolver: Resolve = resolve) -> Sequence[str]:
    """Returns all addresses of a host.

    Raises `ForbiddenAddress` unless the policy allows all of them; the resolver's `OSError` and `ValueError`.
    """
    addresses = await resolver(host, port)
    if not policy.may_reach(host, port, addresses):
        raise ForbiddenAddress(f"{host} may not be reached")
    return addresses


async def require_peer(stream: httpcore.AsyncNetworkStream, address: str) -> None:
    """Returns if a new connection leads to the address that was checked; closes it otherwise.

    Raises `ForbiddenAddress`, and `httpcore.ConnectError` for a connection that has ended already and has no peer.
    """
    peer = stream.get_extra_info("server_addr")
    if peer and is_same(str(peer[0]), address):
        return
    await stream.aclose()
    if peer is None:
        raise httpcore.ConnectError("the connection has ended already")
    raise ForbiddenAddress("the connection leads to another address than the one that was checked")


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections of httpcore, to addresses that a policy allows.

    `connect_tcp` raises `ForbiddenAddress`, `UnresolvedName`, `httpcore.ConnectError` and `httpcore.ConnectTimeout`.
    """

    def __init__(
        self, policy: HostPolicy, *, resolver: Resolve = resolve, backend: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._policy = policy
        self._resolve = resolver
        self._backend = backend or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Returns a connection to the first address of a host that accepts one, within `timeout` seconds altogether."""
        clock = asyncio.get_running_loop().time
        due = None if timeout is None else clock() + timeout
        addresses = await self._addresses(host, port, timeout)
        failure: Exception = httpcore.ConnectTimeout("no time was left to connect")
        for address, is_last in _tried(addresses):
            left = None if due is None else due - clock()
            if left is not None and left <= 0:
                break
            seconds = left if is_last else min(SECONDS_PER_ADDRESS, left or SECONDS_PER_ADDRESS)
            try:
                stream = await self._backend.connect_tcp(address, port, seconds, local_address, socket_options)
                await require_peer(stream, address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return stream
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Pauses between attempts of httpcore."""
        await self._backend.sleep(seconds)

    async def _addresses(self, host: str, port: int, timeout: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(timeout):
                return await checked_addresses(host, port, policy=self._policy, resolver=self._resolve)
        except (OSError, ValueError) as error:
            # The timeout's error is an OSError, too.
            raise UnresolvedName(f"{host} cannot be resolved") from error


def _tried(addresses: Sequence[str]) -> Iterable[tuple[str, bool]]:
    """Yields the addresses to try, and whether each is the last one."""
    tried = list(dict.fromkeys(addresses))[:MAX_ADDRESSES]
    return ((address, address == tried[-1]) for address in tried)
