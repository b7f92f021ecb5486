"""Whether each process of a running stack does its work."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import psycopg2

from cli.stack import storage
from cli.stack.probes import grpc_ok, http_ok
from cli.stack.state import StackState


@dataclass(frozen=True, kw_only=True)
class Row:
    """One process; `ready` is None where only its life can be seen."""

    name: str
    pid: int
    alive: bool
    ready: bool | None
    where: str


def look(state: StackState) -> list[Row]:
    """Ask every process of the stack, servers last."""
    rows = []
    for name, pids in sorted(state.pids.items(), key=lambda item: item[0] in _SERVERS):
        where, is_ready = _question(name, state)
        for number, pid in enumerate(pids):
            alive = psutil.pid_exists(pid)
            # Only the first replica's address is announced.
            ready = None if number else alive and is_ready()
            rows.append(Row(name=name, pid=pid, alive=alive, ready=ready, where="" if number else where))
    return rows


def _question(name: str, state: StackState) -> tuple[str, Callable[[], bool]]:
    if name in _SERVERS:
        where, ask = _SERVERS[name]
        url = where(state)
        return urlsplit(url).netloc.rpartition("@")[2], lambda: ask(url)
    if address := state.grpc.get(name):
        # job-service answers whoever asks for its health on its second port alone.
        asked = state.grpc.get("worker", address) if name == "job" else address
        return address, lambda: grpc_ok(asked)
    return state.http, lambda: http_ok(f"{state.http}/readyz")


def postgres_ok(url: str) -> bool:
    """Whether the database takes connections."""
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def nats_ok(url: str) -> bool:
    """Whether the broker greets."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=2) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False


_SERVERS: dict[str, tuple[Callable[[StackState], str], Callable[[str], bool]]] = {
    "postgres": (lambda state: state.database_url, postgres_ok),
    "nats": (lambda state: state.nats_url, nats_ok),
    "storage": (lambda state: state.storage_url, storage.answers),
}
