"""Checks whether each process of a running stack is ready."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import psycopg2

from cli.stack import storage
from cli.stack.probes import grpc_conditions, grpc_ok, http_conditions, http_ok
from cli.stack.state import StackState


@dataclass(frozen=True, kw_only=True)
class Row:
    """The state of one process."""

    #: Service or server.
    name: str
    #: Process id.
    pid: int
    #: Whether the process runs.
    alive: bool
    #: Whether it is ready to work; None where that cannot be checked.
    ready: bool | None
    #: `host:port` or URL that was checked; empty where none is known.
    address: str
    #: What keeps the process from its work, as it says itself; empty for nothing, and where that was not checked.
    why: str = ""


def check(state: StackState) -> list[Row]:
    """Checks every process of the stack; services first, then servers."""
    rows = []
    for name, pids in sorted(state.pids.items(), key=lambda item: item[0] in _SERVERS):
        address, is_ready = _probe(name, state)
        for number, pid in enumerate(pids):
            alive = psutil.pid_exists(pid)
            # Only the first replica's address is in the state.
            ready = None if number else alive and is_ready()
            is_checked = alive and (ready is False or (name in state.operations and not number))
            why = _why(name, state) if is_checked else ""
            rows.append(Row(name=name, pid=pid, alive=alive, ready=ready, address="" if number else address, why=why))
    return rows


def _why(name: str, state: StackState) -> str:
    """What keeps a server, or the first replica of a service, from its work."""
    if name in _SERVERS:
        return "does not respond"
    if name in state.operations:
        conditions = grpc_conditions(state.operations[name][0], state.grpc_token)
    else:
        conditions = http_conditions(state.http)
    return "does not respond" if conditions is None else ", ".join(conditions)


def _probe(name: str, state: StackState) -> tuple[str, Callable[[], bool]]:
    """The address of a service or server, and how to check it."""
    if name in _SERVERS:
        url_in, is_ready = _SERVERS[name]
        url = url_in(state)
        return urlsplit(url).netloc.rpartition("@")[2], lambda: is_ready(url)
    if address := state.grpc.get(name):
        # job-service answers health checks without a credential on its second port alone.
        checked = state.grpc.get("worker", address) if name == "job" else address
        return address, lambda: grpc_ok(checked)
    return state.http, lambda: http_ok(f"{state.http}/readyz")


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
