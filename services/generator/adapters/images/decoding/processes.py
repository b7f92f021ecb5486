"""Child processes that decode the images of others, with at most so much memory for all of them together.

An image that takes its process down takes nothing else with it. Nothing is decoded here: what comes back is numbers,
words out of a list, and bytes.
"""

import asyncio
import logging
import signal
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from common.logs import event
from services.generator.adapters.images import errors
from services.generator.adapters.images.decoding.child_process import ChildProcess, Died, NotStarted
from services.generator.adapters.images.decoding.fair_semaphore import Turn, Turns
from services.generator.adapters.images.decoding.results import Look, look_of
from services.generator.adapters.images.size import size_of
from services.generator.domain.jobs import MaskForm

MIB = 1024 * 1024
#: Memory for all images that are decoded at once, and their processes: deploy/k8s/base/generator.yaml counts on both.
MOST_MEMORY, PROCESSES = 1024 * MIB, 4
#: Bytes that a pixel takes while its image is decoded: as it is, as the decoder holds it, converted, scaled.
_PER_PIXEL = {b"\x89PNG": 14, b"RIFF": 20}
_PER_PIXEL_OF_OTHERS = 16
#: As well, to write a WebP anew.
_PER_PIXEL_TO_WRITE_WEBP = 16
#: Beside the pixels: the encoded image, which is joined and cut, and what libraries take for themselves.
_COPIES, _REST = 4, 48 * MIB
#: For one image, in seconds: time of the processor, and a time after which a process hangs, whatever it does.
CPU_SECONDS, MOST_SECONDS = 30, 150.0
#: Bytes of what is written; no provider is sent more.
MOST_WRITTEN = 64 * MIB
#: Who waits: results, which are paid for, and inputs, of which anybody can send many.
RESULTS, INPUTS = 0, 1
MODULE = "services.generator.adapters.images.decoding.child_main"
_LOG = logging.getLogger(__name__)


class DecodingProcesses:
    """Decodes in processes of its own, which start when they are needed. All raise `StageError`.

    Any call may be canceled at any time; its process is ended then.
    """

    def __init__(self, *, memory: int = MOST_MEMORY, processes: int = PROCESSES) -> None:
        self._turns = Turns(most=memory, places=processes, lanes=2)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decode")
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        #: Processes that were ended, and may not have been seen to end.
        self._over: deque[ChildProcess] = deque()

    @property
    def held(self) -> int:
        """Bytes of memory that images may take now."""
        return self._turns.held

    async def look(self, data: bytes, *, lane: int) -> Look:
        """Decode and measure. INVALID_IMAGE or TOO_LARGE where it is no image within bounds."""
        answer, _ = await self._run("inspect", data, lane=lane)
        found = look_of(answer.get("look"))
        if found is None:
            raise errors.undecodable()
        return found

    async def rewritten(self, data: bytes) -> bytes:
        """The image turned as its EXIF says and encoded anew: its pixels and their colour profile alone."""
        return (await self._run("rewrite", data, lane=INPUTS))[1]

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """The mask in a form, as a PNG."""
        return (await self._run("mask", data, lane=INPUTS, form=form.value))[1]

    async def fitted(self, data: bytes, size: tuple[int, int]) -> bytes:
        """The image cut to a size, as raw pixels of three bytes each."""
        return (await self._run("fitted", data, lane=INPUTS, width=size[0], height=size[1]))[1]

    async def fitted_mask(self, data: bytes, size: tuple[int, int]) -> bytes:
        """The mask cut to a size, as raw pixels of one byte each: 255 is what is to be edited."""
        return (await self._run("fitted_mask", data, lane=INPUTS, width=size[0], height=size[1]))[1]

    async def close(self) -> None:
        """End all processes."""
        for child in (*self._busy, *self._idle):
            child.kill()
        await asyncio.to_thread(self._threads.shutdown)
        for child in (*self._idle, *self._over):
            child.close()
        self._idle.clear()
        self._over.clear()

    async def _run(self, task: str, data: bytes, *, lane: int, **arguments: int | str) -> tuple[dict[str, Any], bytes]:
        """What a process answers. One that ends by no fault of the image's is tried once more in a new one."""
        memory = _memory_for(task, data, most=self._turns.most)
        for is_last in (False, True):
            told = {"memory": memory, "seconds": CPU_SECONDS, "most": MOST_WRITTEN}
            head = {"task": task, "arguments": arguments} | told
            try:
                answer, body = await self._ask(head, data, lane=lane)
            except NotStarted as error:
                event(_LOG, logging.ERROR, "decoding.process_not_started")
                raise errors.decoding_unavailable() from error
            except Died as died:
                event(
                    _LOG,
                    logging.WARNING,
                    "decoding.process_died",
                    task=task,
                    status=died.status,
                    hung=died.is_killed,
                    bytes=len(data),
                )
                if is_last or died.is_killed or died.status == -signal.SIGXCPU:
                    raise errors.undecodable() from died
                continue
            if answer.get("error") == "MEMORY" and memory < self._turns.most and not is_last:
                # Its header told of less than there is in it.
                memory = self._turns.most
                continue
            _refuse(answer)
            return answer, body
        raise AssertionError("the last try returns or raises")

    async def _ask(self, head: dict[str, Any], data: bytes, *, lane: int) -> tuple[dict[str, Any], bytes]:
        turn = await self._turns.take(head["memory"], lane=lane)
        child = self._next_child()
        self._busy.add(child)
        loop = asyncio.get_running_loop()
        asking = loop.run_in_executor(self._threads, self._ask_child, child, head, data)
        too_long = loop.call_later(MOST_SECONDS, child.kill)
        # Its memory is free when its process has ended, which may be after nobody waits for it any more.
        asking.add_done_callback(lambda ended: self._ended(child, turn, too_long, ended))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            child.kill()
            raise

    def _next_child(self) -> ChildProcess:
        """One that waits for work, or a new one. The system may have ended some of those that wait, or all of them."""
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            self._over.append(child)
        return ChildProcess(MODULE)

    def _ask_child(self, child: ChildProcess, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """In a thread: the end of a process may be long in coming."""
        with suppress(IndexError):
            while True:
                self._over.pop().close()
        try:
            return child.ask(head, data, most=int(head["most"]))
        finally:
            if child.is_over:
                child.close()

    def _ended(
        self,
        child: ChildProcess,
        turn: Turn,
        too_long: asyncio.TimerHandle,
        ended: "asyncio.Future[tuple[dict[str, Any], bytes]]",
    ) -> None:
        too_long.cancel()
        self._busy.discard(child)
        # Looked at even if nobody waits any more: an end that is never looked at is complained about.
        if ended.cancelled() or ended.exception() is not None or child.is_over:
            self._over.append(child)
        else:
            self._idle.append(child)
        turn.end()


def _memory_for(task: str, data: bytes, *, most: int) -> int:
    """What an image may take while it is decoded: by its header, which is only believed as far as that."""
    size = size_of(data)
    if size is None:
        return most
    per_pixel = _PER_PIXEL.get(data[:4], _PER_PIXEL_OF_OTHERS)
    if task == "rewrite" and data.startswith(b"RIFF"):
        per_pixel += _PER_PIXEL_TO_WRITE_WEBP
    return min(per_pixel * size[0] * size[1] + _COPIES * len(data) + _REST, most)


def _refuse(answer: dict[str, Any]) -> None:
    match answer.get("error"):
        case None:
            return
        case "MEMORY":
            raise errors.needs_too_much_memory()
        case "WRITTEN":
            raise errors.too_large(MOST_WRITTEN)
        case "TOO_LARGE":
            raise errors.too_many_pixels()
        case _:
            raise errors.not_an_image()
