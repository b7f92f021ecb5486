"""A supervisor starts what ended again, and stops what it started."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.stack.child import Child, ChildError, Program, StartInterrupted
from cli.stack.supervisor import (
    HEALTHY_SECONDS,
    LONGEST_PAUSE,
    STARTING_SECONDS,
    UNWELL_SECONDS,
    Supervisor,
    Watched,
    describe_end,
)
from tests.support.patience import PATIENCE


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def program(folder: Path, code: str, *, is_ready: Callable[[], bool] = lambda: True, name: str = "some") -> Program:
    """A Python one-liner as a program."""
    return Program(
        name=name,
        command=(sys.executable, "-c", code),
        environment=dict(os.environ),
        log=folder / f"{name}.log",
        is_ready=is_ready,
    )


FOREVER = "import signal; print('up', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def ended(child: Child) -> Child:
    child.start()
    child.kill()
    return child


def test_a_child_that_ended_is_started_again_after_a_pause(tmp_path: Path) -> None:
    clock, told = Clock(), list[str]()
    child = Child(program(tmp_path, FOREVER))
    watched = Watched(child, clock)
    ended(child)
    first = child.pid

    assert not watched.check(told.append)
    clock.now += 0.3
    assert watched.check(told.append)

    assert child.is_alive
    assert child.pid != first
    assert "signal 9" in told[0]
    child.stop()


def test_a_child_that_keeps_ending_is_started_ever_later_and_never_later_than_the_longest_pause(tmp_path: Path) -> None:
    clock, pauses = Clock(), []
    child = Child(program(tmp_path, FOREVER))
    watched = Watched(child, clock)
    ended(child)
    for _ in range(9):
        watched.check(lambda _: None)
        began = clock.now
        while not watched.check(lambda _: None):
            clock.now += 0.0625  # exact in binary
        pauses.append(clock.now - began)
        child.kill()

    assert pauses == sorted(pauses)
    assert pauses[0] < 0.3
    assert pauses[-2:] == [LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_child_that_was_healthy_is_started_again_soon(tmp_path: Path) -> None:
    clock = Clock()
    child = Child(program(tmp_path, FOREVER))
    watched = Watched(child, clock)
    ended(child)
    for _ in range(6):
        watched.check(lambda _: None)
        clock.now += LONGEST_PAUSE
        watched.check(lambda _: None)
        child.kill()
    watched.check(lambda _: None)
    clock.now += LONGEST_PAUSE
    watched.check(lambda _: None)
    clock.now += HEALTHY_SECONDS
    child.kill()

    watched.check(lambda _: None)
    clock.now += 0.3

    assert watched.check(lambda _: None)
    child.stop()


def test_a_new_process_number_is_written_down_again_when_the_disk_was_full(tmp_path: Path) -> None:
    clock, told, written = Clock(), list[str](), list[int]()
    full = [False]

    def note() -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        written.append(1)

    supervisor = Supervisor(report=told.append, changed=note, now=clock)
    child = Child(program(tmp_path, FOREVER))
    supervisor.start(child)
    child.kill()
    full[0] = True
    supervisor.run_once()
    clock.now += 1
    supervisor.run_once()
    supervisor.run_once()
    complaints = [line for line in told if "No space" in line]
    full[0] = False
    supervisor.run_once()
    supervisor.run_once()

    assert len(complaints) == 1
    assert len(written) == 2
    child.stop()


def test_whoever_does_not_end_by_itself_is_ended_after_the_grace(tmp_path: Path) -> None:
    supervisor = Supervisor(report=lambda _: None, changed=lambda: None)
    log = tmp_path / "some.log"
    child = Child(program(tmp_path, DEAF, is_ready=lambda: b"up" in log.read_bytes()))
    supervisor.start(child)
    child.wait_ready(PATIENCE)

    hurry = threading.Event()
    hurry.set()
    supervisor.stop([[child]], grace_seconds=60, hurry=hurry)

    assert child.exit_status == -signal.SIGKILL


def test_phases_are_stopped_one_after_the_other(tmp_path: Path) -> None:
    supervisor = Supervisor(report=lambda _: None, changed=lambda: None)
    first, second = (Child(program(tmp_path, FOREVER, name=name)) for name in ("first", "second"))
    supervisor.start(first)
    supervisor.start(second)
    alive_then = list[bool]()

    class Hurry(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if first.is_alive:
                alive_then.append(second.is_alive)
            return super().wait(timeout)

    supervisor.stop([[first], [second]], grace_seconds=10, hurry=Hurry())

    assert all(alive_then)
    assert (first.is_alive, second.is_alive) == (False, False)


def test_a_program_that_ends_at_its_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = Child(program(tmp_path, "raise SystemExit('CALOTYPE_X is not a setting.')", is_ready=lambda: False))
    child.start()

    with pytest.raises(ChildError, match="CALOTYPE_X is not a setting"):
        child.wait_ready(PATIENCE)


def test_waiting_ends_when_somebody_asks_to_stop(tmp_path: Path) -> None:
    stop = threading.Event()

    def never_ready() -> bool:
        stop.set()
        return False

    child = Child(program(tmp_path, FOREVER, is_ready=never_ready))
    child.start()

    with pytest.raises(StartInterrupted):
        child.wait_ready(PATIENCE, stop)
    child.stop()


def test_a_log_that_grew_too_large_is_moved_aside_once(tmp_path: Path) -> None:
    child = Child(program(tmp_path, FOREVER))
    child.program.log.write_text("x" * 11, encoding="utf-8")

    child.bound_log(10)

    assert child.program.log.read_bytes() == b""
    assert (tmp_path / "some.log.1").read_text(encoding="utf-8") == "x" * 11


@pytest.mark.parametrize(("status", "words"), [(0, "exit code 0"), (-9, "signal 9"), (None, "not started")])
def test_an_end_is_told_in_words(status: int | None, words: str) -> None:
    assert describe_end(status) == words


class Patient:
    """A child that says how it is; every look is a second later."""

    def __init__(self, folder: Path) -> None:
        self.says: bool | None = True
        self.told = list[str]()
        self.clock = Clock()
        self.child = Child(replace(program(folder, FOREVER), is_well=lambda: self.says))
        self.child.start()
        self.watched = Watched(self.child, self.clock)

    def look(self, *, seconds: int) -> bool:
        """Look every second; whether it was started again."""
        pid = self.child.pid
        for _ in range(seconds):
            self.clock.now += 1
            self.watched.check(self.told.append)
        return self.child.pid != pid


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    """A child that is well."""
    patient = Patient(tmp_path)
    yield patient
    patient.child.stop()


def test_a_child_that_keeps_saying_that_it_is_not_well_is_started_again(patient: Patient) -> None:
    patient.look(seconds=3)
    patient.says = False

    assert not patient.look(seconds=int(UNWELL_SECONDS))
    assert patient.look(seconds=3)
    assert "reports that it cannot work" in patient.told[0]


def test_a_child_that_is_unwell_for_a_moment_or_says_nothing_goes_on(patient: Patient) -> None:
    for says in (True, False, True, False, True, None):
        patient.says = says
        assert not patient.look(seconds=int(UNWELL_SECONDS) - 1)
    assert not patient.look(seconds=int(STARTING_SECONDS))


def test_a_child_that_takes_long_to_start_is_given_time_and_not_for_ever(patient: Patient) -> None:
    patient.says = False

    assert not patient.look(seconds=int(STARTING_SECONDS) - 1)
    assert patient.look(seconds=int(UNWELL_SECONDS))
