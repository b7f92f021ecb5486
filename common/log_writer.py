"""Writes log lines in a thread of its own: a reader that does not read holds up no request and no job.

Lines wait in memory, within bounds. Beyond them lines are left out, and `log.lines_lost` says how many as soon as
lines are written again. What waits at the end of the process is written for `FLUSH_SECONDS`; a process that is killed
loses it.
"""

import logging
import os
import threading
import time
from collections import deque

#: Bytes that wait, and how many more for errors and for reserved loggers.
MAX_WAITING_BYTES, RESERVED_BYTES = 4 * 1024 * 1024, 1024 * 1024
#: Seconds for which the end of the process waits for a slow reader.
FLUSH_SECONDS = 2.0
#: Bytes of one write, about.
CHUNK_BYTES = 64 * 1024
#: Seconds after a write in which lines gather for the next one, unless there is an error among them: waking the thread
#: for each line costs more than the line.
GATHER_SECONDS = 0.05
#: Seconds between two tries at a descriptor that does not block and is full, and at one that failed, as on a full disk.
FULL_PAUSE, FAILED_PAUSE = 0.01, 1.0


class BackgroundHandler(logging.Handler):
    """Writes lines to a file descriptor. `reserved`: names of loggers whose lines are left out last."""

    def __init__(self, descriptor: int, *, reserved: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._reserved = reserved
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._is_writing = False
        self._is_torn = False
        self._is_closed = False
        #: Whether the thread waits for a line, for however long.
        self._is_idle = False
        #: Whether what waits is written at once.
        self._is_urgent = False
        threading.Thread(target=self._run, name="log writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queues a line, or counts it as lost."""
        line = self._encode(record)
        if os.getpid() != self._process:
            # A forked child has no writing thread.
            self._write(line)
            return
        has_reserve = record.levelno >= logging.ERROR or record.name in self._reserved
        limit = MAX_WAITING_BYTES + (RESERVED_BYTES if has_reserve else 0)
        with self._changed:
            if self._waiting_bytes + len(line) > limit:
                self._lost += 1
            else:
                self._lines.append(line)
                self._waiting_bytes += len(line)
                self._is_urgent |= record.levelno >= logging.ERROR or self._waiting_bytes >= CHUNK_BYTES
            if self._is_idle or self._is_urgent:
                self._is_idle = False
                self._changed.notify_all()

    def flush(self) -> None:
        """Waits until everything is written, for at most `FLUSH_SECONDS`."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._lines or self._lost or self._is_writing), FLUSH_SECONDS)

    def close(self) -> None:
        """Ends the thread once everything is written."""
        if os.getpid() == self._process:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
        super().close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_urgent or self._is_closed, GATHER_SECONDS)
                self._is_idle = True
                self._changed.wait_for(lambda: self._lines or self._lost or self._is_closed)
                self._is_idle = False
                if not self._lines and not self._lost:
                    return
                lines, lost = self._take(), self._lost
                self._lost, self._is_writing = 0, True
            notice = self._encode(_lost_lines(lost)) if lost else b""
            is_written = self._write(notice + b"".join(lines))
            with self._changed:
                self._waiting_bytes -= sum(map(len, lines))
                self._is_urgent = bool(self._lines) and self._is_urgent
                self._lost += 0 if is_written else lost + len(lines)
                self._is_writing = False
                self._changed.notify_all()
                if not is_written:
                    if self._is_closed:
                        return
                    self._changed.wait_for(lambda: self._is_closed, FAILED_PAUSE)

    def _take(self) -> list[bytes]:
        """Takes the next lines, about `CHUNK_BYTES` in all; they count as waiting until they are written."""
        taken: list[bytes] = []
        size = 0
        while self._lines and size < CHUNK_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        return taken

    def _write(self, data: bytes) -> bool:
        """Writes everything, however long that takes; returns False when the descriptor failed."""
        # After a line of which only a part was written.
        rest = memoryview((b"\n" if self._is_torn else b"") + data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                time.sleep(FULL_PAUSE)
            except OSError:
                return False
            else:
                self._is_torn = rest[written - 1] != ord("\n") if written else self._is_torn
                rest = rest[written:]
        return True

    def _encode(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")


def _lost_lines(count: int) -> logging.LogRecord:
    record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, "log.lines_lost", None, None)
    record.count = count
    return record
