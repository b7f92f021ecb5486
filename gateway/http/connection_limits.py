"""Limits open connections, in total and per client; closes the oldest idle one when a new one needs its slot."""

import ipaddress
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol
from weakref import WeakKeyDictionary

from uvicorn.server import ServerState


class LimitedConnection(Protocol):
    """The parts of a connection that its limits use."""

    #: Largest number of connections of the server.
    connection_limit: int
    #: Largest number of connections of one peer on which no request was authenticated.
    unknown_client_limit: int
    #: Seconds for which an idle connection is not closed: its first request may have arrived but not been read yet.
    idle_grace_seconds: float

    @property
    def peer(self) -> str:
        """The client: an IPv4 address, or a /64 of IPv6, as one client has all addresses in it."""

    @property
    def is_authenticated(self) -> bool:
        """Whether the sender of a request on it was known."""

    def close_idle(self) -> None:
        """Closes the connection, which has no request in progress."""


class ConnectionLimits:
    """Tracks the open connections of one server and which of them are idle."""

    def __init__(self) -> None:
        self._open: set[LimitedConnection] = set()
        self._of_peers: defaultdict[str, set[LimitedConnection]] = defaultdict(set)
        #: Connections without a request, the longest idle first, with the monotonic time since when.
        self._idle: dict[LimitedConnection, float] = {}

    def add(self, connection: LimitedConnection) -> None:
        """Adds a new connection; over a limit, closes the oldest idle one that is past its grace period."""
        of_peer = self._of_peers[connection.peer]
        if self._unauthenticated(connection) >= connection.unknown_client_limit:
            self._close_first(
                candidate for candidate in self._closable() if candidate in of_peer and not candidate.is_authenticated
            )
        if len(self._open) >= connection.connection_limit:
            self._close_first(self._closable())
        self._open.add(connection)
        self._of_peers[connection.peer].add(connection)
        self._idle[connection] = time.monotonic()

    def remove(self, connection: LimitedConnection) -> None:
        """Removes a closed connection; repeating this has no effect."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if of_peer := self._of_peers.get(connection.peer):
            of_peer.discard(connection)
        if not of_peer:
            self._of_peers.pop(connection.peer, None)

    def mark_busy(self, connection: LimitedConnection) -> None:
        """Records that a request has begun to arrive."""
        self._idle.pop(connection, None)

    def mark_idle(self, connection: LimitedConnection) -> None:
        """Records that the response is complete and that no further request has begun."""
        if connection in self._open:
            self._idle.pop(connection, None)
            self._idle[connection] = time.monotonic()

    def is_over_limit(self, connection: LimitedConnection) -> bool:
        """Returns whether requests on this connection must be refused, as more are open than the limits allow."""
        if len(self._open) > connection.connection_limit:
            return True
        is_over_own_limit = self._unauthenticated(connection) > connection.unknown_client_limit
        return not connection.is_authenticated and is_over_own_limit

    def _unauthenticated(self, connection: LimitedConnection) -> int:
        of_peer = self._of_peers.get(connection.peer, ())
        # Counted only near the limit: a proxy has many connections, and nearly all are authenticated.
        if len(of_peer) < connection.unknown_client_limit:
            return 0
        return sum(not other.is_authenticated for other in of_peer)

    def _closable(self) -> Iterator[LimitedConnection]:
        """Yields the idle connections past their grace period, the longest idle first."""
        now = time.monotonic()
        return (connection for connection, since in self._idle.items() if now - since >= connection.idle_grace_seconds)

    def _close_first(self, candidates: Iterator[LimitedConnection]) -> None:
        connection = next(candidates, None)
        if connection is not None:
            self.remove(connection)
            connection.close_idle()


_LIMITS: WeakKeyDictionary[ServerState, ConnectionLimits] = WeakKeyDictionary()


def limits_of(server: ServerState) -> ConnectionLimits:
    """Returns the limits that all connections of a server share."""
    return _LIMITS.setdefault(server, ConnectionLimits())


def peer_of(address: str) -> str:
    """Returns the client of an IP address: the IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
