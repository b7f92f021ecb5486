"""A child process that answers one request at a time, and has nothing of the service's: no environment, no files."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from services.generator.adapters.images.decoding.wire import receive, send

_START = "import sys; sys.path[:] = sys.argv[2:]; __import__(sys.argv[1], fromlist=['main']).main()"
#: What an interpreter may need to start; each thread of the allocator would reserve address space of its own.
_ENVIRONMENT = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ} | {
    "MALLOC_ARENA_MAX": "1"
}


class NotStarted(Exception):
    """There is no process: it could not be started, or ended before it was ready."""


class Died(Exception):
    """The process ended in the midst of a request, by `kill` or otherwise; the status is negative for a signal."""

    def __init__(self, status: int, *, is_killed: bool) -> None:
        super().__init__(str(status))
        self.status = status
        self.is_killed = is_killed


class ChildProcess:
    """Runs `main` of a module. `ask` blocks and is for one thread at a time; `kill` is for any, at any time."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        #: Whether it answers no more, and whether that is because of `kill`.
        self.is_over = False
        self.is_killed = False

    def ask(self, head: dict[str, Any], data: bytes, *, most: int) -> tuple[dict[str, Any], bytes]:
        """The answer to a request, its body of at most so many bytes. Raises `NotStarted` or `Died`; over then."""
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise NotStarted
        try:
            send(process.stdin, head, data)
            answer, body = receive(process.stdout, most=most)
        except (OSError, EOFError) as error:
            self.is_over = True
            process.kill()
            raise Died(process.wait(), is_killed=self.is_killed) from error
        self.is_over = bool(answer.get("last"))
        return answer, body

    @property
    def is_alive(self) -> bool:
        """Whether it may answer a request; of one that has ended by itself this is seen here."""
        return not self.is_over and (self._process is None or self._process.poll() is None)

    def kill(self) -> None:
        """End it now; whoever waits for its answer hears `Died`."""
        with self._lock:
            self.is_over = self.is_killed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End it, and wait until it has ended."""
        self.kill()
        if self._process is not None:
            # What it was not sent any more stands in the pipe.
            with suppress(OSError), self._process:
                pass

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self.is_killed:
                raise Died(0, is_killed=True)
            if self._process is not None:
                return self._process
            path = [os.path.abspath(one) for one in sys.path]
            command = [sys.executable, "-I", "-c", _START, self._module, *path]
            try:
                self._process = process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT
                )
            except OSError as error:
                self.is_over = True
                raise NotStarted from error
        try:
            if process.stdout is None:
                raise EOFError
            receive(process.stdout, most=0)
        except (OSError, EOFError) as error:
            self.is_over = True
            raise NotStarted from error
        return process
