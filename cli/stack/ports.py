"""Ports of 127.0.0.1: free ones, and the same ones again after a restart."""

import atexit
import errno
import json
import random
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

#: Below the range that systems take outgoing connections from: a client that knocks at a stopped server's port must
#: neither take that port nor connect to itself.
CANDIDATES = range(20_000, 32_000)
TRIES = 200
#: A port that was given is kept from other processes that look for one, by the UDP port of the same number, which
#: nothing here speaks: before its server listens, and while it is restarted, nothing else shows that it is spoken for.
#: The oldest are let go, where a process takes more than a quarter of its open files could hold.
_KEPT: dict[int, socket.socket] = {}
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_MOST_KEPT = 512 if _OPEN_FILES == resource.RLIM_INFINITY else min(512, _OPEN_FILES // 4)


class NoFreePort(Exception):
    """Nothing was free among many candidates."""


class Ports:
    """Ports by name, remembered in a file so that public addresses outlive a restart of the stack."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _read(memory)
        self._given: set[int] = set()

    def take(self, name: str) -> int:
        """The port of that name: the one of last time when it is still free."""
        port = self._known.get(name)
        if port is None or port in self._given or not (is_free("127.0.0.1", port) and (port in _KEPT or _keep(port))):
            port = next(one for one in _free_ports() if one not in self._given)
        self._given.add(port)
        self._known[name] = port
        return port

    def remember(self) -> None:
        """Write what was taken."""
        self._memory.write_text(json.dumps(self._known, indent=1, sort_keys=True), encoding="utf-8")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that no other process here is given. Raises `NoFreePort`."""
    return next(_free_ports())


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `OSError` for a host that is not this machine's."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections that linger after a restart are no obstacle, a listener is.
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
        if port not in _KEPT and is_free("127.0.0.1", port) and _keep(port):
            yield port
    raise NoFreePort(f"None of {TRIES} ports of 127.0.0.1 is free.")


def _keep(port: int) -> bool:
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        keeper.bind(("127.0.0.1", port))
    except OSError:
        keeper.close()
        return False
    if len(_KEPT) >= _MOST_KEPT:
        _KEPT.pop(next(iter(_KEPT))).close()
    _KEPT[port] = keeper
    return True


@atexit.register
def _let_go() -> None:
    """Close what is kept: Python complains of sockets that are open at its end."""
    while _KEPT:
        _KEPT.popitem()[1].close()


def _read(memory: Path) -> dict[str, int]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Lost or damaged: new ports do as well.
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: port for name, port in known.items() if isinstance(port, int) and 0 < port < 65_536}
