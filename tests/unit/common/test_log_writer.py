"""Lines are written in the background: nobody waits for a reader that does not read."""

import errno
import logging
import os
import time
from collections.abc import Iterator

import pytest

from common import log_writer
from common.log_writer import BackgroundHandler


def record(message: str, *, level: int = logging.INFO, name: str = "calotype.test") -> logging.LogRecord:
    """A log record."""
    return logging.LogRecord(name, level, __file__, 0, message, None, None)


class Pipe:
    """A pipe whose writing end a handler has."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.handler = BackgroundHandler(self.writing, reserved=("calotype.audit",))

    def read(self) -> str:
        """Reads all that is written until the handler has no more."""
        text = b""
        while not text.endswith(b"end\n"):
            text += os.read(self.reading, 1 << 20)
        return text.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that nobody reads before the test does."""
    made = Pipe()
    yield made
    made.handler.close()
    # Unblocks a write that nobody read.
    os.close(made.reading)
    made.handler.flush()


def test_lines_keep_their_order(pipe: Pipe) -> None:
    for number in range(1_000):
        pipe.handler.emit(record(str(number)))
    pipe.handler.emit(record("end"))

    assert pipe.read().split() == [*map(str, range(1_000)), "end"]


def test_after_flush_everything_is_written(pipe: Pipe) -> None:
    pipe.handler.emit(record("end"))
    pipe.handler.flush()
    os.set_blocking(pipe.reading, False)

    assert os.read(pipe.reading, 100) == b"end\n"


def test_lines_gather_until_one_is_an_error(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe.handler.emit(record("begin"))
    pipe.handler.flush()
    monkeypatch.setattr(log_writer, "GATHER_SECONDS", 600.0)
    # What it waits for now may be the shorter time still.
    pipe.handler.emit(record("error", level=logging.ERROR))
    pipe.handler.flush()
    writes: list[bytes] = []
    write = pipe.handler._write
    monkeypatch.setattr(pipe.handler, "_write", lambda data: writes.append(data) or write(data))

    for number in range(5):
        pipe.handler.emit(record(str(number)))
    pipe.handler.emit(record("end", level=logging.ERROR))

    assert pipe.read().split() == ["begin", "error", *map(str, range(5)), "end"]
    assert len(writes) == 1


@pytest.mark.usefixtures("no_collection")
def test_a_full_pipe_holds_nobody_up_and_the_loss_is_counted(pipe: Pipe) -> None:
    slowest, began = 0.0, time.monotonic()
    for _ in range(10_000):
        before = time.monotonic()
        pipe.handler.emit(record("x" * 999))
        slowest = max(slowest, time.monotonic() - before)
    taken = time.monotonic() - began
    # Far above what a machine needs, however busy it is.
    assert (taken < 10, slowest < 1) == (True, True)
    pipe.handler.emit(record("audit", name="calotype.audit"))
    pipe.handler.emit(record("end", level=logging.ERROR))

    lines = pipe.read().splitlines()

    kept = sum(line == "x" * 999 for line in lines)
    assert 4_000 < kept < 4_400
    assert lines[-2:] == ["audit", "end"]
    assert "log.lines_lost" in lines


def test_the_end_of_the_process_does_not_wait_for_ever(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 0.05)
    for _ in range(200):
        pipe.handler.emit(record("x" * 999))
    began = time.monotonic()
    pipe.handler.flush()

    assert time.monotonic() - began < 5


def test_a_full_disk_loses_lines_and_the_next_line_begins_anew(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.write, [5]

    def limited(descriptor: int, data: memoryview) -> int:
        if descriptor != pipe.writing:
            return write(descriptor, data)
        if room and room[0] == 0:
            raise OSError(errno.ENOSPC, "no space")
        written = write(descriptor, data[: room[0]] if room else data)
        if room:
            room[0] -= written
        return written

    monkeypatch.setattr(log_writer, "FAILED_PAUSE", 0.01)
    monkeypatch.setattr(os, "write", limited)
    pipe.handler.emit(record("a long line"))
    while room[0]:
        time.sleep(0.001)
    room.clear()
    pipe.handler.emit(record("end"))

    first, *others = pipe.read().splitlines()

    assert first == "a lon"
    assert sorted(others) == ["end", "log.lines_lost"]


def test_a_forked_child_writes_its_lines_itself(pipe: Pipe) -> None:
    pipe.handler._process = -1
    pipe.handler.emit(record("end"))

    assert pipe.read() == "end\n"
