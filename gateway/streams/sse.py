"""Server-sent events: a job's changes as a browser's EventSource reads them."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from calotype.job.v1 import job_pb2
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common.logs import event
from gateway.schemas.jobs import JobView
from gateway.streams.follow import Change, StreamTimeouts
from gateway.views import job

_LOG = logging.getLogger(__name__)
MOST_STREAMS = 3_000
RETRY_MS = 2_000
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def events(
    changes: AsyncGenerator[Change, None],
    *,
    render: Callable[[job_pb2.Job], JobView],
    timeouts: StreamTimeouts,
    draining: asyncio.Event,
    seconds_left: Callable[[], float],
) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream, for as long as its reader has the right to it.

    One change at a time is taken, so a slow reader slows job-service's stream, not memory.
    """
    yield f"retry: {RETRY_MS}\n\n".encode()
    told_progress = float("-inf")
    async with aclosing(changes), aclosing(with_beats(changes, timeouts, draining, seconds_left)) as beats:
        async for change in beats:
            if isinstance(change, str):
                yield f": {change}\n\n".encode()
            elif isinstance(change, job_pb2.Job):
                body = render(change).model_dump_json()
                yield f"event: job\nid: {change.sequence}\ndata: {body}\n\n".encode()
            elif time.monotonic() - told_progress >= timeouts.progress:
                told_progress = time.monotonic()
                body = job.progress(change).model_dump_json()
                yield f"event: progress\ndata: {body}\n\n".encode()


async def with_beats(
    changes: AsyncIterator[Change], timeouts: StreamTimeouts, draining: asyncio.Event, seconds_left: Callable[[], float]
) -> AsyncGenerator[Change | str, None]:
    """The changes, with comments between: a heartbeat when nothing happens, a last word when something ends them."""
    drain = asyncio.create_task(draining.wait())
    following = asyncio.create_task(_next(changes))
    try:
        while True:
            waiting = {drain, following}
            pause = max(0.0, min(timeouts.heartbeat, seconds_left()))
            done, _ = await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if seconds_left() <= 0:
                yield "the key or token is no longer good"
                return
            if following in done:
                if (change := following.result()) is None:
                    return
                yield change
                following = asyncio.create_task(_next(changes))
            elif drain in done:
                yield "the gateway restarts; reconnect"
                return
            else:
                yield "still here"
    finally:
        for task in (drain, following):
            task.cancel()
        await asyncio.gather(drain, following, return_exceptions=True)


async def _next(changes: AsyncIterator[Change]) -> Change | None:
    return await anext(changes, None)


class Streams:
    """How many streams are open in this process."""

    def __init__(self, *, most: int = MOST_STREAMS) -> None:
        self._most = most
        self.open = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self.open >= self._most


class EventStream(Response):
    """Sends a stream until it ends, the client goes, or takes nothing for too long."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None], *, streams: Streams, timeouts: StreamTimeouts) -> None:
        super().__init__(headers=HEADERS)
        # A stream's length is not known.
        del self.headers["content-length"]
        self._chunks = chunks
        self._streams = streams
        self._timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        self._streams.open += 1
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.open -= 1
            sent = sending.done()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if sent:
            sending.result()

    async def _send(self, send: Send) -> None:
        start: Any = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            async with aclosing(self._chunks) as chunks:
                await self._bounded(send, start)
                async for chunk in chunks:
                    await self._bounded(send, {"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            event(_LOG, logging.INFO, "stream.abandoned", seconds=self._timeouts.send)
            return
        await self._bounded(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _bounded(self, send: Send, message: Any) -> None:
        async with asyncio.timeout(self._timeouts.send):
            await send(message)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return once the client has gone; its body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
