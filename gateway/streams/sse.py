"""Server-sent events: the changes of a job in the format that EventSource in browsers reads."""

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
from gateway.views.progress import ProgressBar

_LOG = logging.getLogger(__name__)
#: Open streams of this process.
STREAM_LIMIT = 3_000
#: After how many milliseconds browsers reconnect.
RETRY_MS = 2_000
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def events(
    changes: AsyncGenerator[Change, None],
    *,
    render: Callable[[job_pb2.Job], JobView],
    bar: ProgressBar,
    timeouts: StreamTimeouts,
    draining: asyncio.Event,
    seconds_left: Callable[[], float],
) -> AsyncGenerator[bytes, None]:
    """Yields the bytes of a stream, which ends when `seconds_left` says that the client's access is over.

    Reads one change at a time: a slow client slows down job-service's stream instead of filling memory.
    """
    yield f"retry: {RETRY_MS}\n\n".encode()
    last_progress_at = float("-inf")
    async with aclosing(changes), aclosing(with_heartbeats(changes, timeouts, draining, seconds_left)) as updates:
        async for update in updates:
            if isinstance(update, str):
                yield f": {update}\n\n".encode()
            elif isinstance(update, job_pb2.Job):
                body = render(update).model_dump_json()
                yield f"event: job\nid: {update.sequence}\ndata: {body}\n\n".encode()
            elif time.monotonic() - last_progress_at >= timeouts.progress and (view := bar.advance(update)):
                last_progress_at = time.monotonic()
                yield f"event: progress\ndata: {view.model_dump_json()}\n\n".encode()


async def with_heartbeats(
    changes: AsyncIterator[Change], timeouts: StreamTimeouts, draining: asyncio.Event, seconds_left: Callable[[], float]
) -> AsyncGenerator[Change | str, None]:
    """Yields the changes, and comments as text: a heartbeat while nothing changes, and the reason why a stream ends."""
    drain = asyncio.create_task(draining.wait())
    following = asyncio.create_task(_next(changes))
    try:
        while True:
            waiting = {drain, following}
            pause = max(0.0, min(timeouts.heartbeat, seconds_left()))
            done, _ = await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if seconds_left() <= 0:
                yield "the key or token is no longer valid"
                return
            if following in done:
                if (change := following.result()) is None:
                    return
                yield change
                following = asyncio.create_task(_next(changes))
            elif drain in done:
                yield "the gateway is restarting; reconnect"
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
    """Counts the open streams of this process."""

    def __init__(self, *, limit: int = STREAM_LIMIT) -> None:
        self._limit = limit
        #: Streams that are open now.
        self.open = 0

    @property
    def full(self) -> bool:
        """Whether no further stream may be opened."""
        return self.open >= self._limit


class EventStream(Response):
    """Sends a stream until it ends, the client disconnects, or the client receives nothing for too long."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None], *, streams: Streams, timeouts: StreamTimeouts) -> None:
        super().__init__(headers=HEADERS)
        # The length of a stream is unknown.
        del self.headers["content-length"]
        self._chunks = chunks
        self._streams = streams
        self._timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the stream."""
        self._streams.open += 1
        sending = asyncio.create_task(self._send(send))
        disconnect = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.open -= 1
            is_done = sending.done()
            for task in (sending, disconnect):
                task.cancel()
            await asyncio.gather(sending, disconnect, return_exceptions=True)
        if is_done:
            sending.result()

    async def _send(self, send: Send) -> None:
        start: Any = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            async with aclosing(self._chunks) as chunks:
                await self._send_in_time(send, start)
                async for chunk in chunks:
                    await self._send_in_time(send, {"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            event(_LOG, logging.INFO, "stream.abandoned", seconds=self._timeouts.send)
            return
        await self._send_in_time(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_in_time(self, send: Send, message: Any) -> None:
        async with asyncio.timeout(self._timeouts.send):
            await send(message)


async def wait_for_disconnect(receive: Receive) -> None:
    """Returns once the client has disconnected; the body of the request must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
