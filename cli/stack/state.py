"""Files about a running stack: `stack.json` for clients, `processes.json` to find what a killed stack left."""

import json
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cli.errors import CommandFailed, ExitCode
from cli.stack.keys import write_private

#: Systems report a process's start to about 0.01 s; that of another process with its number differs by far more.
SAME_START_SECONDS = 1.0
SUPERVISOR = "supervisor"
#: How long a process of an earlier stack may take to end after a signal, and after it was killed.
LEFTOVER_SECONDS = 10.0
KILLED_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The content of `stack.json`."""

    #: URL of the gateway, or of the first of several.
    http: str
    #: `host:port` of each service's first replica; `worker` is job-service's port for workers.
    grpc: dict[str, str]
    #: job-service's database, with user and password.
    database_url: str
    #: The notifier's database, with user and password.
    notifier_database_url: str
    #: The broker, for the user `operator`, who may do everything.
    nats_url: str
    #: The broker, for the user `monitor`, who may read the server's health and settings.
    nats_monitor_url: str
    #: The object store.
    storage_url: str
    #: URL that public objects' names are appended to.
    public_base_url: str
    #: Public bucket.
    bucket: str
    #: Bucket of images that are not published yet.
    staging_bucket: str
    #: Key of the tenant `default`.
    api_key: str
    #: Key of the operator.
    operator_key: str
    #: Token for the gRPC API, of a client and operator.
    grpc_token: str
    #: Tokens for the object store, by service.
    storage_tokens: dict[str, str]
    #: Process ids of all replicas, by service or server.
    pids: dict[str, list[int]]
    #: URLs of all replicas of the gateway.
    gateways: list[str] = field(default_factory=list)
    #: `host:port` of OperationsService of all replicas, by service.
    operations: dict[str, list[str]] = field(default_factory=dict)
    #: `host:port` that answers health checks without a credential, of all replicas, by service.
    health: dict[str, list[str]] = field(default_factory=dict)
    #: URLs of all replicas' admin ports, by service; `/metrics` is there.
    admin: dict[str, list[str]] = field(default_factory=dict)

    @property
    def database_urls(self) -> dict[str, str]:
        """Databases with user and password, by service."""
        return {"job": self.database_url, "notifier": self.notifier_database_url}

    def write(self, folder: Path) -> None:
        """Replaces the file in one step; only its owner can read it, as it holds keys."""
        write_private(folder / "stack.json", json.dumps(asdict(self), indent=2))


def read_state(folder: Path) -> StackState | None:
    """Reads the state of the folder's stack; None when no stack runs there."""
    if find_supervisor(folder) is None:
        return None
    content = _read(folder / "stack.json")
    try:
        return StackState(**content) if isinstance(content, dict) else None
    except TypeError:
        return None


def require_state(folder: Path, *, advice: str = "start one with: calotype up") -> StackState:
    """Returns the state of the folder's stack. Raises `CommandFailed` that says why there is none and what to do."""
    state = read_state(folder)
    if state is not None:
        return state
    if find_supervisor(folder) is not None:
        message = f"The stack in {folder} is starting or stopping; try again when it is ready."
    elif leftovers := find_leftovers(folder):
        message = (
            f"The stack in {folder} was killed, and left processes that still run: "
            f"{names_of(leftovers)}. Stop them with: calotype down; or stop them and start "
            "again with: calotype up"
        )
    else:
        message = f"No stack runs in {folder}; {advice}"
    raise CommandFailed(message, ExitCode.NOT_REACHABLE)


def forget_state(folder: Path) -> None:
    """Removes the files about a running stack."""
    for name in ("stack.json", "processes.json"):
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """A process that the stack started; id and start time together identify it for ever."""

    #: Service or server, or `SUPERVISOR`.
    name: str
    #: Process id, which the system may use again later.
    pid: int
    #: Seconds since the epoch.
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> "ProcessRecord | None":
        """Makes a record of a process; None when it has ended."""
        try:
            return cls(name=name, pid=pid, started=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def find(self) -> psutil.Process | None:
        """Returns the process; None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started) < SAME_START_SECONDS
            return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def write_processes(folder: Path, records: Iterable[ProcessRecord]) -> None:
    """Replaces the records of the stack's processes, its supervisor included."""
    write_private(folder / "processes.json", json.dumps([asdict(record) for record in records], indent=1))


def read_processes(folder: Path) -> list[ProcessRecord]:
    """Reads the records of all processes that the folder's last stack started."""
    content = _read(folder / "processes.json")
    try:
        return [ProcessRecord(**fields) for fields in content or []]
    except TypeError:
        return []


def find_supervisor(folder: Path) -> psutil.Process | None:
    """Returns the process that keeps the folder's stack running; None when no stack runs."""
    return next((record.find() for record in read_processes(folder) if record.name == SUPERVISOR), None)


def find_leftovers(folder: Path) -> list[tuple[str, psutil.Process]]:
    """Names and processes of the folder's last stack that still run, services before servers.

    Without a supervisor among them (`find_supervisor`) that stack was killed.
    """
    records = reversed(read_processes(folder))
    return [(record.name, process) for record in records if (process := record.find()) is not None]


def names_of(leftovers: Sequence[tuple[str, psutil.Process]]) -> str:
    """Names of `find_leftovers`, for a message."""
    return ", ".join(name for name, _ in leftovers)


def stop_leftovers(folder: Path, report: Callable[[str], None]) -> None:
    """Stops what a killed stack left: services before servers, by a signal that they may follow, then by force."""
    leftovers = find_leftovers(folder)
    if leftovers:
        report(f"stopping {len(leftovers)} processes that an earlier stack left: {names_of(leftovers)}")
    for name, process in leftovers:
        with suppress(psutil.NoSuchProcess):
            # PostgreSQL waits for its clients at SIGTERM, and ends their sessions at SIGINT.
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs([process for _, process in leftovers], timeout=LEFTOVER_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=KILLED_SECONDS)
    forget_state(folder)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Absent, or torn by a full disk: as if no stack ran.
        return None
