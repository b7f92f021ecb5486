"""A child process: started, checked for readiness, stopped."""

import importlib.util
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Bytes of a log; a larger one is moved aside, in place of the one that was moved before.
LARGEST_LOG = 20 * 1024 * 1024


class ChildError(Exception):
    """A program did not start; the message names it and its log."""


class ChildSlow(ChildError):
    """A program runs, but was not ready in time."""


class StartInterrupted(Exception):
    """A stop was requested while a program was still starting."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to run, and how to check it."""

    #: For messages; unique in the stack.
    name: str
    #: Path of the executable, and arguments.
    command: tuple[str, ...]
    #: All variables; none of this process are added.
    environment: Mapping[str, str]
    #: File that standard output and standard error are appended to.
    log: Path
    #: Whether the program is ready to work.
    is_ready: Callable[[], bool]
    #: Signal for an orderly end.
    stop_signal: signal.Signals = signal.SIGTERM
    #: Whether the program reports that it can work, None when it does not respond. False for long enough means a
    #: restart, so only for faults that a restart mends. None for programs that cannot be checked.
    is_well: Callable[[], bool | None] | None = None


class Child:
    """A running program."""

    def __init__(self, program: Program) -> None:
        #: What runs.
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Exit code, or the negative number of the signal that ended the process; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Runs the program in a new session, so that Ctrl-C reaches only the supervisor."""
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.command,
                env=dict(self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Waits until the program is ready.

        Raises `ChildError` when it ends first, `ChildSlow` when it takes too long, `StartInterrupted` when `stop` is
        set meanwhile.
        """
        stop, deadline = stop or threading.Event(), time.monotonic() + seconds
        while not self.program.is_ready():
            if not self.is_alive:
                raise ChildError(f"{self.program.name} ended at its start: {self.last_line()} ({self.program.log})")
            if time.monotonic() > deadline:
                raise ChildSlow(f"{self.program.name} was not ready after {seconds:.0f} s; see {self.program.log}")
            if stop.wait(0.03):
                raise StartInterrupted

    def request_stop(self) -> None:
        """Sends the signal for an orderly end."""
        if self._process is not None:
            # Not os.kill: Popen checks that the process was not waited for, after which its number may be another's.
            self._process.send_signal(self.program.stop_signal)

    def stop(self, seconds: float = 10.0) -> None:
        """Sends the signal for an orderly end, waits that many seconds, then kills the process."""
        self.request_stop()
        if self._process is not None:
            try:
                self._process.wait(max(seconds, 0.0))
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kills the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def bound_log(self, largest: int = LARGEST_LOG) -> None:
        """Moves a log of more than `largest` bytes aside; the process goes on writing to the emptied file."""
        log = self.program.log
        if log.exists() and log.stat().st_size > largest:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)

    def last_line(self) -> str:
        """The last line of the log, at most 300 characters."""
        with self.program.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it logged nothing"


def wheel_folder(package: str) -> Path:
    """Folder of an installed package, found without importing it: some do work at import. Raises `ChildError`."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ChildError(f"The package {package} is not installed; `make` and the extra `embedded` install it.")
    return Path(spec.origin).parent
