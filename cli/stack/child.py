"""A child process: started, asked whether it is ready, stopped, and never left behind silently."""

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

#: A log that grew beyond this is moved aside, once.
LARGEST_LOG = 20 * 1024 * 1024


class ChildError(Exception):
    """A program did not start; the message says which, and where its log is."""


class ChildSlow(ChildError):
    """It runs, and did not do its work in time."""


class StartInterrupted(Exception):
    """Somebody asked to stop while something was still starting."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, and how to see that it does its work; `stop_signal` asks it to end in an orderly way.

    `is_well` is what it says of itself, None while it says nothing. Only for what a new start can mend.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    is_well: Callable[[], bool | None] | None = None


class Child:
    """A running program."""

    def __init__(self, program: Program) -> None:
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
        """How it ended: an exit code, or a signal's negative number; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Run the program in a session of its own, so that a Ctrl-C reaches its supervisor alone."""
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
        """Wait until it does its work.

        Raises `ChildError` when it ends first, `ChildSlow` when it takes too long, `StartInterrupted` when it is to
        stop meanwhile.
        """
        stop, deadline = stop or threading.Event(), time.monotonic() + seconds
        while not self.program.is_ready():
            if not self.is_alive:
                raise ChildError(f"{self.program.name} ended at its start: {self.last_line()} ({self.program.log})")
            if time.monotonic() > deadline:
                raise ChildSlow(f"{self.program.name} was not ready after {seconds:.0f} s; see {self.program.log}")
            if stop.wait(0.03):
                raise StartInterrupted

    def ask_to_stop(self) -> None:
        """Send the signal that asks it to end."""
        if self._process is not None:
            # Popen looks first whether the process was already waited for: its number may be another's by now.
            self._process.send_signal(self.program.stop_signal)

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end, wait so long, then end it."""
        self.ask_to_stop()
        if self._process is not None:
            try:
                self._process.wait(max(seconds, 0.0))
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def bound_log(self, largest: int = LARGEST_LOG) -> None:
        """Move a log that grew too large aside; the process goes on writing to its emptied file."""
        log = self.program.log
        if log.exists() and log.stat().st_size > largest:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)

    def last_line(self) -> str:
        """The last words in its log."""
        with self.program.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


def wheel_folder(package: str) -> Path:
    """Where a wheel lies, found without importing it: some do work at import. Raises `ChildError`."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ChildError(f"The package {package} is not installed; make installs it.")
    return Path(found.origin).parent
