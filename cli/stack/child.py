"""A child process: started, asked whether it is ready, stopped, and never left behind silently."""

import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class ChildError(Exception):
    """A program did not start; the message says which, and where its log is."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, and how to see that it does its work; `stop_signal` asks it to end in an orderly way."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM


class Child:
    """A running program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run the program in a session of its own, so that a Ctrl-C reaches its supervisor alone."""
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        self._close_log()
        self._log = self.program.log.open("ab")
        self._process = subprocess.Popen(
            self.program.command,
            env=dict(self.program.environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_ready(self, seconds: float) -> None:
        """Wait until it does its work. Raises `ChildError` when it ends first or takes too long."""
        deadline = time.monotonic() + seconds
        while not self.program.is_ready():
            if not self.is_alive:
                raise ChildError(f"{self.program.name} ended at its start: {self._last_line()} ({self.program.log})")
            if time.monotonic() > deadline:
                raise ChildError(f"{self.program.name} was not ready after {seconds:.0f} s; see {self.program.log}")
            time.sleep(0.02)

    def ask_to_stop(self) -> None:
        """Send the signal that asks it to end."""
        if self.is_alive:
            os.kill(self.pid, self.program.stop_signal)

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end, wait so long, then end it."""
        self.ask_to_stop()
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close_log()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        lines = self.program.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def wheel_folder(package: str) -> Path:
    """Where a wheel lies, found without importing it: some do work at import. Raises `ChildError`."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ChildError(f"The package {package} is not installed; make installs it.")
    return Path(found.origin).parent


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True
