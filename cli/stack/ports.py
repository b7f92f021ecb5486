"""Ports of 127.0.0.1: free ports, and the same ports again after a restart."""

import atexit
import errno
import json
import random
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

#: Below the range that systems take ports of outgoing connections from: a client that connects to the port of a stopped
#: server must neither take that port nor connect to itself.
CANDIDATES = range(20_000, 32_000)
#: Candidates that are tried for one port.
TRIES = 200
#: Reserved ports. A socket at the UDP port of the same number, which nothing else here uses, shows other processes that
#: a port is taken before its server listens and while the server is restarted. The oldest reservations are given up
#: when they would take more than a quarter of the open files that the process may have.
_RESERVED: dict[int, socket.socket] = {}
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_MAX_RESERVED = 512 if _OPEN_FILES == resource.RLIM_INFINITY else min(512, _OPEN_FILES // 4)


class NoFreePort(Exception):
    """No candidate was free."""


class Ports:
    """Ports by name, stored in a file so that public URLs stay valid after a restart of the stack."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _read(memory)
        self._assigned: set[int] = set()

    def assign(self, name: str) -> int:
        """Returns the port of that name: that of the last run if it is still free. Raises `NoFreePort`."""
        port = self._known.get(name)
        if (
            port is None
            or port in self._assigned
            or not (is_free("127.0.0.1", port) and (port in _RESERVED or _reserve(port)))
        ):
            port = next(free for free in _free_ports() if free not in self._assigned)
        self._assigned.add(port)
        self._known[name] = port
        return port

    def remember(self) -> None:
        """Writes all ports to the file."""
        self._memory.write_text(json.dumps(self._known, indent=1, sort_keys=True), encoding="utf-8")


def free_port() -> int:
    """Reserves a port of 127.0.0.1 that is neither in use nor reserved. Raises `NoFreePort`."""
    return next(_free_ports())


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `OSError` for a host that is not of this machine."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections that linger after a restart do not prevent listening, another listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _free_ports() -> Iterator[int]:
    for port in random.sample(CANDIDATES, TRIES):
        if port not in _RESERVED and is_free("127.0.0.1", port) and _reserve(port):
            yield port
    raise NoFreePort(f"None of {TRIES} ports of 127.0.0.1 is free.")


def _reserve(port: int) -> bool:
    """Reserves a port; returns whether it was not reserved by another process."""
    reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        reservation.bind(("127.0.0.1", port))
    except OSError:
        reservation.close()
        return False
    if len(_RESERVED) >= _MAX_RESERVED:
        _RESERVED.pop(next(iter(_RESERVED))).close()
    _RESERVED[port] = reservation
    return True


@atexit.register
def _close_reservations() -> None:
    """Closes all sockets: Python warns of sockets that are open at its end."""
    while _RESERVED:
        _RESERVED.popitem()[1].close()


def _read(memory: Path) -> dict[str, int]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Lost or damaged: new ports will do.
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: port for name, port in known.items() if isinstance(port, int) and 0 < port < 65_536}
