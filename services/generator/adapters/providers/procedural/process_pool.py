"""Drawing in processes of its own: it is pure computation, and neither stops the event loop nor waits for it.

A process of the pool that dies takes the whole pool with it; the next drawing makes a new one.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection, get_context, parent_process
from multiprocessing.sharedctypes import RawArray
from typing import Any

from services.generator.adapters.providers.procedural.drawing import render

LOOK_SECONDS = 0.25
#: Drawings at once, waiting ones included.
MOST_PLACES = 64


class RenderersBroken(Exception):
    """The processes that draw died, twice in a row."""


class _Stopped(Exception):
    """Nobody wants this drawing any more."""


class Renderers:
    """Processes that draw. `draw` may be canceled at any time; the drawing then ends at its next step."""

    def __init__(self, processes: int = 2) -> None:
        self._processes = processes
        # Shared with the processes: how far each drawing is, and whether it is still wanted.
        self._progress: Any = RawArray("d", MOST_PLACES)
        self._unwanted: Any = RawArray("b", MOST_PLACES)
        self._places: asyncio.Queue[int] = asyncio.Queue()
        for place in range(MOST_PLACES):
            self._places.put_nowait(place)
        self._pool = self._new_pool()

    async def draw(self, report: Callable[[float], None], **arguments: Any) -> bytes:
        """What `render` gives for the arguments. Raises what it raises, or `RenderersBroken`."""
        for last in (False, True):
            pool = self._pool
            try:
                return await self._draw(pool, report, arguments)
            except BrokenProcessPool as error:
                if self._pool is pool:
                    pool.shutdown(wait=False)
                    self._pool = self._new_pool()
                if last:
                    raise RenderersBroken("The processes that draw died.") from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Stop drawing."""
        for place in range(MOST_PLACES):
            self._unwanted[place] = 1
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _draw(
        self, pool: ProcessPoolExecutor, report: Callable[[float], None], arguments: dict[str, Any]
    ) -> bytes:
        place = await self._places.get()
        self._progress[place], self._unwanted[place] = 0.0, 0
        try:
            drawing = pool.submit(_draw, place, arguments)
        except BrokenProcessPool:
            self._places.put_nowait(place)
            raise
        loop = asyncio.get_running_loop()
        # The place is free when the drawing has ended, which may be after nobody waits for it any more.
        drawing.add_done_callback(partial(self._free, loop, place))
        try:
            return await self._wait(drawing, place, report)
        except asyncio.CancelledError:
            self._unwanted[place] = 1
            drawing.cancel()
            raise

    async def _wait(self, drawing: Future[bytes], place: int, report: Callable[[float], None]) -> bytes:
        waiting = asyncio.wrap_future(drawing)
        # Looked at even if nobody waits any more: an end that is never looked at is complained about.
        waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while True:
            done, _ = await asyncio.wait([waiting], timeout=LOOK_SECONDS)
            if done:
                return waiting.result()
            report(self._progress[place])

    def _free(self, loop: asyncio.AbstractEventLoop, place: int, drawing: Future[bytes]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._places.put_nowait, place)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._processes,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(self._progress, self._unwanted),
        )


# What follows runs in the processes of the pool.

_shared: list[Any] = []


def _begin(progress: Any, unwanted: Any) -> None:
    _shared[:] = [progress, unwanted]
    # A Ctrl-C at the terminal is for the service, which lets drawings end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A service that was killed leaves no process behind."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _draw(place: int, arguments: dict[str, Any]) -> bytes:
    progress, unwanted = _shared

    def report(share: float) -> None:
        progress[place] = share
        if unwanted[place]:
            raise _Stopped

    return render(**arguments, progress=report)
