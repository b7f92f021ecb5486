"""Drawing in a pool of processes, because it is pure computation and would block the event loop.

A process that dies breaks the whole pool; the next drawing creates a new pool.
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

PROGRESS_SECONDS = 0.25
#: Most drawings at a time, with those that wait for a process.
MAX_DRAWINGS = 64


class RenderersBroken(Exception):
    """The processes that draw died, twice in a row."""


class _Stopped(Exception):
    """The drawing was canceled."""


class Renderers:
    """Processes that draw. `draw` may be canceled at any time; the drawing then ends at its next step."""

    def __init__(self, processes: int = 2) -> None:
        self._processes = processes
        # Shared with the processes, by slot: the progress of each drawing (0 to 1), and 1 if it was canceled.
        self._progress: Any = RawArray("d", MAX_DRAWINGS)
        self._canceled: Any = RawArray("b", MAX_DRAWINGS)
        self._slots: asyncio.Queue[int] = asyncio.Queue()
        for slot in range(MAX_DRAWINGS):
            self._slots.put_nowait(slot)
        # Made for the first drawing, as it comes with a process that watches over what the others share.
        self._pool: ProcessPoolExecutor | None = None

    async def draw(self, report: Callable[[float], None], **arguments: Any) -> bytes:
        """Returns the file that `render` draws. Raises what `render` raises, or `RenderersBroken`."""
        for last in (False, True):
            if self._pool is None:
                self._pool = self._new_pool()
            pool = self._pool
            try:
                return await self._draw(pool, report, arguments)
            except BrokenProcessPool as error:
                if self._pool is pool:
                    pool.shutdown(wait=False)
                    self._pool = None
                if last:
                    raise RenderersBroken("The processes that draw died.") from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Stops drawing and ends the processes."""
        for slot in range(MAX_DRAWINGS):
            self._canceled[slot] = 1
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _draw(
        self, pool: ProcessPoolExecutor, report: Callable[[float], None], arguments: dict[str, Any]
    ) -> bytes:
        slot = await self._slots.get()
        self._progress[slot], self._canceled[slot] = 0.0, 0
        try:
            drawing = pool.submit(_draw, slot, arguments)
        except BrokenProcessPool:
            self._slots.put_nowait(slot)
            raise
        loop = asyncio.get_running_loop()
        # The slot is free when the drawing has ended, which may be after the caller was canceled.
        drawing.add_done_callback(partial(self._free, loop, slot))
        try:
            return await self._wait(drawing, slot, report)
        except asyncio.CancelledError:
            self._canceled[slot] = 1
            drawing.cancel()
            raise

    async def _wait(self, drawing: Future[bytes], slot: int, report: Callable[[float], None]) -> bytes:
        waiting = asyncio.wrap_future(drawing)
        # The result is read even if the caller was canceled: asyncio logs exceptions that are never read.
        waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while True:
            done, _ = await asyncio.wait([waiting], timeout=PROGRESS_SECONDS)
            if done:
                return waiting.result()
            report(self._progress[slot])

    def _free(self, loop: asyncio.AbstractEventLoop, slot: int, drawing: Future[bytes]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._slots.put_nowait, slot)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._processes,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(self._progress, self._canceled),
        )


# The functions below run in the processes of the pool.

_shared: list[Any] = []


def _begin(progress: Any, canceled: Any) -> None:
    # Imported in these processes only: numpy and the fonts would take 15 MB of a service that draws nothing itself.
    from services.generator.adapters.providers.procedural.drawing import render

    _shared[:] = [progress, canceled, render]
    # Ctrl-C at the terminal goes to the service, which lets drawings end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the service ends, also if that was killed."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _draw(slot: int, arguments: dict[str, Any]) -> bytes:
    progress, canceled, render = _shared

    def report(share: float) -> None:
        progress[slot] = share
        if canceled[slot]:
            raise _Stopped

    drawn: bytes = render(**arguments, progress=report)
    return drawn
