"""Child processes that decode untrusted images, with one memory limit for all of them.

An image that crashes its process affects nothing else. This process decodes nothing: it gets back numbers, words from a
fixed list, and bytes.
"""

import asyncio
import logging
import signal
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from calotype.error_reasons import Reason
from calotype.size_limits import MAX_IMAGE_BYTES

from common.logs import event
from services.generator.adapters.images import errors
from services.generator.adapters.images.decoding.child_process import ChildProcess, ProcessDied, ProcessNotStarted
from services.generator.adapters.images.decoding.fair_semaphore import FairSemaphore, Permit
from services.generator.adapters.images.decoding.results import Inspection, inspection_of
from services.generator.adapters.images.size import size_of
from services.generator.domain.jobs import MaskForm

MIB = 1024 * 1024
#: Memory in bytes for all images that are decoded at once, and number of processes; the memory limit in
#: deploy/k8s/base/generator.yaml includes both.
MAX_MEMORY, PROCESSES = 1024 * MIB, 4
#: Bytes per pixel while an image is decoded: the image, the decoder's copy, the converted and the scaled copy.
_PER_PIXEL = {b"\x89PNG": 14, b"RIFF": 20}
_PER_PIXEL_OF_OTHERS = 16
#: Further bytes per pixel for encoding a WebP.
_PER_PIXEL_TO_WRITE_WEBP = 16
#: Further memory: copies of the encoded image, and bytes that the libraries need.
_COPIES, _REST = 4, 48 * MIB
#: Limits for one image in seconds: processor time, and elapsed time after which the process is killed.
CPU_SECONDS, MAX_SECONDS = 30, 150.0
#: Lanes of the queue: results, which are paid for, and inputs, of which any caller can send many.
RESULTS, INPUTS = 0, 1
MODULE = "services.generator.adapters.images.decoding.child_main"
_LOG = logging.getLogger(__name__)


class DecodingProcesses:
    """Decodes images in child processes, which start when needed. Methods raise `StageError`.

    Any call may be canceled; its process is then killed.
    """

    def __init__(self, *, memory: int = MAX_MEMORY, processes: int = PROCESSES) -> None:
        self._semaphore = FairSemaphore(limit=memory, slots=processes, lanes=2)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decode")
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        #: Killed processes that may not have ended yet.
        self._over: deque[ChildProcess] = deque()

    @property
    def held(self) -> int:
        """Bytes of memory that are reserved for images now."""
        return self._semaphore.held

    async def inspect(self, data: bytes, *, lane: int) -> Inspection:
        """Decodes an image and returns its properties. Raises `StageError` INVALID_IMAGE or TOO_LARGE."""
        response, _ = await self._run("inspect", data, lane=lane)
        inspection = inspection_of(response.get("inspection"))
        if inspection is None:
            raise errors.undecodable()
        return inspection

    async def rewritten(self, data: bytes) -> bytes:
        """Returns the image rotated by its EXIF orientation and encoded again: pixels and colour profile only."""
        return (await self._run("rewrite", data, lane=INPUTS))[1]

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """Returns the mask in the wanted form, as a PNG."""
        return (await self._run("mask", data, lane=INPUTS, form=form.value))[1]

    async def fitted(self, data: bytes, size: tuple[int, int]) -> bytes:
        """Returns the image cropped and scaled to width and height, as raw RGB pixels of three bytes each."""
        return (await self._run("fitted", data, lane=INPUTS, width=size[0], height=size[1]))[1]

    async def fitted_mask(self, data: bytes, size: tuple[int, int]) -> bytes:
        """Returns the mask cropped and scaled to width and height, as raw pixels of one byte each; 255: edit."""
        return (await self._run("fitted_mask", data, lane=INPUTS, width=size[0], height=size[1]))[1]

    async def close(self) -> None:
        """Kills all processes, and waits until they have ended."""
        for child in (*self._busy, *self._idle):
            child.kill()
        await asyncio.to_thread(self._threads.shutdown)
        for child in (*self._idle, *self._over):
            child.close()
        self._idle.clear()
        self._over.clear()

    async def _run(self, task: str, data: bytes, *, lane: int, **arguments: int | str) -> tuple[dict[str, Any], bytes]:
        """Returns head and body of a process's response; after a crash, tries once more in a new process."""
        memory = _memory_for(task, data, limit=self._semaphore.limit)
        for is_last in (False, True):
            limits = {"memory": memory, "seconds": CPU_SECONDS, "limit": MAX_IMAGE_BYTES}
            head = {"task": task, "arguments": arguments} | limits
            try:
                response, body = await self._request(head, data, lane=lane)
            except ProcessNotStarted as error:
                event(_LOG, logging.ERROR, "decoding.process_not_started")
                raise errors.decoding_unavailable() from error
            except ProcessDied as died:
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
            if response.get("error") == "MEMORY" and memory < self._semaphore.limit and not is_last:
                # The image is larger than its header says.
                memory = self._semaphore.limit
                continue
            _raise_error(response)
            return response, body
        raise AssertionError("the last attempt returns or raises")

    async def _request(self, head: dict[str, Any], data: bytes, *, lane: int) -> tuple[dict[str, Any], bytes]:
        permit = await self._semaphore.acquire(head["memory"], lane=lane)
        child = self._next_child()
        self._busy.add(child)
        loop = asyncio.get_running_loop()
        requesting = loop.run_in_executor(self._threads, self._request_child, child, head, data)
        time_limit = loop.call_later(MAX_SECONDS, child.kill)
        # The memory is free once the process has ended, which may be after the caller was canceled.
        requesting.add_done_callback(lambda future: self._ended(child, permit, time_limit, future))
        try:
            return await asyncio.shield(requesting)
        except asyncio.CancelledError:
            child.kill()
            raise

    def _next_child(self) -> ChildProcess:
        """Returns an idle process or a new one; skips idle ones that the operating system has killed."""
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            self._over.append(child)
        return ChildProcess(MODULE)

    def _request_child(self, child: ChildProcess, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Runs a request; in a thread, as it also waits for killed processes to end."""
        with suppress(IndexError):
            while True:
                self._over.pop().close()
        try:
            return child.request(head, data, limit=int(head["limit"]))
        finally:
            if child.is_over:
                child.close()

    def _ended(
        self,
        child: ChildProcess,
        permit: Permit,
        time_limit: asyncio.TimerHandle,
        future: "asyncio.Future[tuple[dict[str, Any], bytes]]",
    ) -> None:
        time_limit.cancel()
        self._busy.discard(child)
        # Reads the exception even for a canceled caller: asyncio would log it as never retrieved.
        if future.cancelled() or future.exception() is not None or child.is_over:
            self._over.append(child)
        else:
            self._idle.append(child)
        permit.release()


def _memory_for(task: str, data: bytes, *, limit: int) -> int:
    """Returns the bytes for decoding an image, estimated from the size in its header; `limit` when it is unreadable."""
    size = size_of(data)
    if size is None:
        return limit
    per_pixel = _PER_PIXEL.get(data[:4], _PER_PIXEL_OF_OTHERS)
    if task == "rewrite" and data.startswith(b"RIFF"):
        per_pixel += _PER_PIXEL_TO_WRITE_WEBP
    return min(per_pixel * size[0] * size[1] + _COPIES * len(data) + _REST, limit)


def _raise_error(response: dict[str, Any]) -> None:
    """Raises the `StageError` for an error that a process reported."""
    match response.get("error"):
        case None:
            return
        case "MEMORY":
            raise errors.needs_too_much_memory()
        case "WRITTEN":
            raise errors.too_large(MAX_IMAGE_BYTES)
        case Reason.TOO_LARGE:
            raise errors.too_many_pixels()
        case _:
            raise errors.not_an_image()
