"""Life cycle of a process: start, stop on a signal, and background tasks whose failures end the process."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import uvloop

from common.config import ConfigError
from common.loops import Stopped


class StartError(Exception):
    """The process cannot start; the message is one line for the operator."""


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs a process; returns its exit code. SIGTERM and SIGINT set the event that is passed to `main`."""

    async def supervised() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, stop.set)
        await main(stop)

    try:
        uvloop.run(supervised())
    except Stopped:
        return 0
    except (ConfigError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


class Tasks:
    """Background tasks of a process: a failure sets `stop`; leaving the context raises the first failure."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: list[BaseException] = []

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Starts a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)
            self._stop.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is None and self._failed:
            raise self._failed[0]
