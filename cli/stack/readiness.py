"""Checks whether each process of a running stack is ready."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import psycopg2

from cli.stack import storage
from cli.stack.probes import grpc_conditions, grpc_ok, http_conditions, http_ok
from cli.stack.services import replica_name
from cli.stack.state import StackState


@dataclass(frozen=True, kw_only=True)
class Row:
    """The state of one process."""

    #: Server, or service with the number of its replica: `generator`, `generator-2`.
    name: str
    #: Process id.
    pid: int
    #: Whether the process runs.
    alive: bool
    #: Whether it is ready to work.
    ready: bool
    #: `host:port` or URL of it.
    address: str
    #: What keeps the process from its work, as it says itself; empty for nothing, and where that was not checked.
    why: str = ""


def check(state: StackState) -> list[Row]:
    """Checks every process of the stack; services first, then servers."""
    return [
        _row(state, name, number, pid)
        for name, pids in sorted(state.pids.items(), key=lambda item: item[0] in _SERVERS)
        for number, pid in enumerate(pids, start=1)
    ]


def _row(state: StackState, name: str, number: int, pid: int) -> Row:
    alive = psutil.pid_exists(pid)
    address, is_ready = _probe(state, name, number)
    ready = alive and is_ready()
    why = _why(state, name, number) if alive and (not ready or name in state.operations) else ""
    return Row(name=replica_name(name, number), pid=pid, alive=alive, ready=ready, address=address, why=why)


def _why(state: StackState, name: str, number: int) -> str:
    """What keeps a server, or a replica of a service, from its work."""
    if name in _SERVERS:
        return "does not respond"
    if name in state.operations:
        conditions = grpc_conditions(state.operations[name][number - 1], state.grpc_token)
    else:
        conditions = http_conditions(state.gateways[number - 1])
    return "does not respond" if conditions is None else ", ".join(conditions)


def _probe(state: StackState, name: str, number: int) -> tuple[str, Callable[[], bool]]:
    """The address of a server or of a service's replica, and how to check it."""
    if name in _SERVERS:
        url_in, is_ready = _SERVERS[name]
        url = url_in(state)
        return urlsplit(url).netloc.rpartition("@")[2], lambda: is_ready(url)
    if name in state.operations:
        checked = state.health.get(name, state.operations[name])[number - 1]
        return state.operations[name][number - 1], lambda: grpc_ok(checked)
    url = state.gateways[number - 1]
    return url, lambda: http_ok(f"{url}/readyz")


def postgres_ok(url: str) -> bool:
    """Whether the database accepts connections."""
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def nats_ok(url: str) -> bool:
    """Whether the broker sends its greeting."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=2) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False


_SERVERS: dict[str, tuple[Callable[[StackState], str], Callable[[str], bool]]] = {
    "postgres": (lambda state: state.database_url, postgres_ok),
    "nats": (lambda state: state.nats_url, nats_ok),
    "storage": (lambda state: state.storage_url, storage.storage_ok),
}
