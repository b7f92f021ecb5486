"""A child process that serves one request at a time, without the service's environment or open files."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from services.generator.adapters.images.decoding.wire import receive, send

_START = "import sys; sys.path[:] = sys.argv[2:]; __import__(sys.argv[1], fromlist=['main']).main()"
#: Variables that the interpreter needs. One arena: each further one would reserve address space of its own.
_ENVIRONMENT = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ} | {
    "MALLOC_ARENA_MAX": "1"
}


class ProcessNotStarted(Exception):
    """The process could not be started, or ended before it was ready."""


class ProcessDied(Exception):
    """The process ended during a request.

    `status` is its exit status, negative for a signal; `is_killed`: by `ChildProcess.kill`.
    """

    def __init__(self, status: int, *, is_killed: bool) -> None:
        super().__init__(str(status))
        self.status = status
        self.is_killed = is_killed


class ChildProcess:
    """Runs `main` of a module. `request` blocks, for one thread at a time; any thread may call `kill` at any time."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        #: Whether it serves no more requests.
        self.is_over = False
        #: Whether `kill` was called.
        self.is_killed = False

    def request(self, head: dict[str, Any], data: bytes, *, limit: int) -> tuple[dict[str, Any], bytes]:
        """Sends a request; returns head and body of the response, the body of up to `limit` bytes.

        Raises `ProcessNotStarted` or `ProcessDied`; the process is over then.
        """
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise ProcessNotStarted
        try:
            send(process.stdin, head, data)
            response, body = receive(process.stdout, limit=limit)
        except (OSError, EOFError) as error:
            self.is_over = True
            process.kill()
            raise ProcessDied(process.wait(), is_killed=self.is_killed) from error
        self.is_over = bool(response.get("last"))
        return response, body

    @property
    def is_alive(self) -> bool:
        """Whether it can serve a request; also detects a process that has ended by itself."""
        return not self.is_over and (self._process is None or self._process.poll() is None)

    def kill(self) -> None:
        """Kills the process; a pending `request` raises `ProcessDied`."""
        with self._lock:
            self.is_over = self.is_killed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kills the process, and waits until it has ended."""
        self.kill()
        if self._process is not None:
            # Unsent data in the pipe makes closing it fail.
            with suppress(OSError), self._process:
                pass

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self.is_killed:
                raise ProcessDied(0, is_killed=True)
            if self._process is not None:
                return self._process
            path = [os.path.abspath(folder) for folder in sys.path]
            command = [sys.executable, "-I", "-c", _START, self._module, *path]
            try:
                self._process = process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT
                )
            except OSError as error:
                self.is_over = True
                raise ProcessNotStarted from error
        try:
            if process.stdout is None:
                raise EOFError
            receive(process.stdout, limit=0)
        except (OSError, EOFError) as error:
            self.is_over = True
            raise ProcessNotStarted from error
        return process
