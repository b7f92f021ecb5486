"""How many connections are open, of whom, and which one goes when another needs its place."""

import ipaddress
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol
from weakref import WeakKeyDictionary

from uvicorn.server import ServerState


class Guest(Protocol):
    """A connection, as far as its place is concerned."""

    #: Of how many together it may be one, and of how many of its peer that were not admitted.
    most: int
    most_of_strangers: int
    #: For how long it keeps its place without a request: one may have arrived and not been read yet.
    spared_seconds: float

    @property
    def peer(self) -> str:
        """Whose it is: an address of IPv4, or a /64 of IPv6, of which one client has all addresses."""

    @property
    def is_admitted(self) -> bool:
        """Whether the sender of a request on it was known."""

    def give_up(self) -> None:
        """Close it; nothing is under way on it."""


class Room:
    """The connections of one server. One without a request holds its place only until somebody else needs it."""

    def __init__(self) -> None:
        self._open: set[Guest] = set()
        self._of_peers: defaultdict[str, set[Guest]] = defaultdict(set)
        #: Those without a request, from the one that has been so for the longest time, and since when.
        self._idle: dict[Guest, float] = {}

    def enter(self, guest: Guest) -> None:
        """Give a new connection its place; where there is none, that of the oldest idle one that is not spared."""
        of_peer = self._of_peers[guest.peer]
        if self._strangers(guest) >= guest.most_of_strangers:
            self._free(one for one in self._evictable() if one in of_peer and not one.is_admitted)
        if len(self._open) >= guest.most:
            self._free(self._evictable())
        self._open.add(guest)
        self._of_peers[guest.peer].add(guest)
        self._idle[guest] = time.monotonic()

    def leave(self, guest: Guest) -> None:
        """A connection is over; once more does no harm."""
        self._open.discard(guest)
        self._idle.pop(guest, None)
        if of_peer := self._of_peers.get(guest.peer):
            of_peer.discard(guest)
        if not of_peer:
            self._of_peers.pop(guest.peer, None)

    def works(self, guest: Guest) -> None:
        """A request has begun on it."""
        self._idle.pop(guest, None)

    def rests(self, guest: Guest) -> None:
        """Its request is answered, and the next one has not begun."""
        if guest in self._open:
            self._idle.pop(guest, None)
            self._idle[guest] = time.monotonic()

    def has_none_for(self, guest: Guest) -> bool:
        """Whether more are open than may be, and the guest is one too many."""
        if len(self._open) > guest.most:
            return True
        return not guest.is_admitted and self._strangers(guest) > guest.most_of_strangers

    def _strangers(self, guest: Guest) -> int:
        of_peer = self._of_peers.get(guest.peer, ())
        # Counted only where it matters: a proxy has many, and nearly all were admitted.
        if len(of_peer) < guest.most_of_strangers:
            return 0
        return sum(not one.is_admitted for one in of_peer)

    def _evictable(self) -> Iterator[Guest]:
        """Idle connections that are not spared any more, the oldest first."""
        now = time.monotonic()
        return (guest for guest, since in self._idle.items() if now - since >= guest.spared_seconds)

    def _free(self, guests: Iterator[Guest]) -> None:
        """Close the first of them, if there is one."""
        guest = next(guests, None)
        if guest is not None:
            self.leave(guest)
            guest.give_up()


_ROOMS: WeakKeyDictionary[ServerState, Room] = WeakKeyDictionary()


def room_of(server: ServerState) -> Room:
    """The room of a server; the same for all of its connections."""
    return _ROOMS.setdefault(server, Room())


def peer_of(address: str) -> str:
    """Whose an address is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
