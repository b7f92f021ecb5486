"""What a running stack tells others: `stack.json` for clients, `processes.json` to find what a killed stack left."""

import json
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from cli.errors import CommandFailed, ExitCode
from cli.stack.keys import write_private

#: Systems tell a process's start to about a hundredth of a second; a number used anew differs by far more.
SAME_START_SECONDS = 1.0
SUPERVISOR = "supervisor"
#: How long a process of an earlier stack may take to end after a signal, and after it was killed.
LEFTOVER_SECONDS = 10.0
KILLED_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The content of `stack.json`; addresses are `host:port`."""

    http: str
    grpc: dict[str, str]
    database_url: str
    #: For the operator, who may do everything there, and for who asks how the server does.
    nats_url: str
    nats_monitor_url: str
    storage_url: str
    public_base_url: str
    bucket: str
    staging_bucket: str
    api_key: str
    operator_key: str
    grpc_token: str
    #: What services show to the object store, by service.
    storage_tokens: dict[str, str]
    pids: dict[str, list[int]]

    def write(self, folder: Path) -> None:
        """Replace the file in one step; it holds keys, so only its owner reads it."""
        write_private(folder / "stack.json", json.dumps(asdict(self), indent=2))


def read_state(folder: Path) -> StackState | None:
    """The state that stands in the folder, unless its stack is gone."""
    if find_supervisor(folder) is None:
        return None
    found = _read(folder / "stack.json")
    try:
        return StackState(**found) if isinstance(found, dict) else None
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
            f"{', '.join(name for name, _ in leftovers)}. Stop them with: calotype down; or stop them and start "
            "again with: calotype up"
        )
    else:
        message = f"No stack runs in {folder}; {advice}"
    raise CommandFailed(message, ExitCode.NOT_REACHABLE)


def forget_state(folder: Path) -> None:
    """Remove what tells of a running stack."""
    for name in ("stack.json", "processes.json"):
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """A process that the stack started; number and start time together name it for ever."""

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> "ProcessRecord | None":
        """A record of a process, unless it has ended."""
        try:
            return cls(name=name, pid=pid, started=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def find(self) -> psutil.Process | None:
        """The process, while it runs."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < SAME_START_SECONDS
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def write_processes(folder: Path, records: Iterable[ProcessRecord]) -> None:
    """Note every process of the stack, its supervisor included."""
    write_private(folder / "processes.json", json.dumps([asdict(one) for one in records], indent=1))


def read_processes(folder: Path) -> list[ProcessRecord]:
    """Every process that the last stack of the folder started."""
    found = _read(folder / "processes.json")
    try:
        return [ProcessRecord(**one) for one in found or []]
    except TypeError:
        return []


def find_supervisor(folder: Path) -> psutil.Process | None:
    """The process that keeps the folder's stack up."""
    return next((one.find() for one in read_processes(folder) if one.name == SUPERVISOR), None)


def find_leftovers(folder: Path) -> list[tuple[str, psutil.Process]]:
    """Names and processes of the folder's last stack that still run, services before servers.

    Without a supervisor among them (`find_supervisor`) that stack was killed.
    """
    records = reversed(read_processes(folder))
    return [(record.name, process) for record in records if (process := record.find()) is not None]


def describe_leftovers(leftovers: Sequence[tuple[str, psutil.Process]]) -> str:
    """How many processes an earlier stack left, and their names."""
    return f"{len(leftovers)} processes that an earlier stack left: {', '.join(name for name, _ in leftovers)}"


def stop_leftovers(folder: Path, report: Callable[[str], None]) -> None:
    """Stops what a killed stack left: services before servers, by a signal that they may follow, then by force."""
    leftovers = find_leftovers(folder)
    if leftovers:
        report(f"stopping {describe_leftovers(leftovers)}")
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
        # Absent, or torn by a full disk: the same as no stack.
        return None
