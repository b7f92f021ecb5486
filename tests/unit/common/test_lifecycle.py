"""Lifetimes: how a process ends, and what it says of its end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.config import ConfigError
from common.ids import process_name
from common.lifecycle import StartError, Tasks, run
from common.loops import Stopped
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[3]
#: A process that says when it can be stopped, and that it was.
PROCESS = """
import asyncio, sys
from common.lifecycle import run

async def main(stop):
    print("ready", flush=True)
    await stop.wait()
    print("stopped", flush=True)

sys.exit(run(main))
"""


@pytest.fixture(autouse=True)
def _the_signals_of_this_process() -> Iterator[None]:
    """Signals are again for whoever runs the tests."""
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ending(error: Exception) -> Callable[[asyncio.Event], Awaitable[None]]:
    """A process that ends so."""

    async def main(stop: asyncio.Event) -> None:
        raise error

    return main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_process_end_in_its_own_way(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROCESS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        told, problems = process.communicate(timeout=PATIENCE)

    assert (process.returncode, told, problems) == (0, "stopped\n", "")


def test_a_second_signal_does_not_cut_it_short(capsys: pytest.CaptureFixture[str]) -> None:
    ended = []

    async def main(stop: asyncio.Event) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
        await asyncio.sleep(0)
        ended.append(True)

    assert (run(main), ended, capsys.readouterr().err) == (0, [True], "")


def test_a_process_that_has_nothing_left_to_do_ends_well() -> None:
    async def main(stop: asyncio.Event) -> None:
        assert not stop.is_set()

    assert run(main) == 0


@pytest.mark.parametrize("error", [ConfigError("CALOTYPE_X is not set."), StartError("Cannot listen on :1.")], ids=repr)
def test_a_process_that_cannot_start_says_why_in_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ending(error)) == 2
    assert capsys.readouterr() == ("", f"{error}\n")


def test_a_process_that_was_stopped_before_it_had_started_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ending(Stopped("The broker was away."))) == 0
    assert capsys.readouterr() == ("", "")


def test_a_defect_is_not_taken_for_a_good_end() -> None:
    with pytest.raises(ZeroDivisionError):
        run(ending(ZeroDivisionError()))


async def forever() -> None:
    """Work that does not end by itself."""
    await asyncio.Event().wait()


async def failing(error: Exception) -> None:
    """Work that fails at once."""
    raise error


async def until_stopped(*works: Coroutine[Any, Any, None], then: Exception | None = None) -> None:
    """A process with work in the background, that waits to be stopped and then ends."""
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE), Tasks(stop) as tasks:
        for number, work in enumerate(works):
            tasks.start(work, name=f"work {number}")
        await stop.wait()
        if then is not None:
            raise then


async def test_a_background_task_that_fails_stops_the_process_and_is_heard_of() -> None:
    with pytest.raises(ValueError, match="a defect"):
        await until_stopped(forever(), failing(ValueError("a defect")))


async def test_of_several_failures_the_first_is_heard_of() -> None:
    with pytest.raises(ValueError, match="first"):
        await until_stopped(failing(ValueError("first")), failing(KeyError("second")))


async def test_what_ends_the_process_is_not_hidden_by_a_background_task() -> None:
    with pytest.raises(StartError):
        await until_stopped(failing(ValueError("a defect")), then=StartError("what ends it"))


async def test_tasks_that_still_run_are_canceled_at_the_end_and_waited_for() -> None:
    stop, ended = asyncio.Event(), list[str]()

    async def work() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async with Tasks(stop) as tasks:
        tasks.start(work(), name="work")
        await asyncio.sleep(0)

    assert (stop.is_set(), ended) == (True, ["cleaned up"])


async def test_a_task_that_ends_by_itself_stops_nothing() -> None:
    stop, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        done.set()

    async with Tasks(stop) as tasks:
        tasks.start(work(), name="work")
        await done.wait()
        await asyncio.sleep(0)

        assert not stop.is_set()


def test_a_process_is_called_by_service_host_and_number() -> None:
    assert process_name("generator") == f"generator/{socket.gethostname()}/{os.getpid()}"
