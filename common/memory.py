"""A limit on the memory for bodies that a process reads; a task that would exceed it waits.

The length of a body is seldom known beforehand. So each body takes memory as it grows. It may grow while all bodies
being read could still finish one after the other, each with its largest possible size (the banker's algorithm): no two
tasks ever wait for each other. Bodies begin in the order of their requests; those that have begun go first.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from io import BytesIO
from math import inf

#: Bytes at the start of each body that are not counted, and size of the steps in which the rest is counted.
UNCOUNTED = STEP = 1024 * 1024


@dataclass(eq=False, kw_only=True)
class Share:
    """The memory of one task, for one body at a time."""

    #: The memory that all shares have in common.
    memory: "Memory"
    #: Moment on the monotonic clock at which waiting for memory ends with `TimeoutError`.
    until: float
    #: Bytes that it holds now.
    held: int = 0
    #: Bytes to which the current body may grow.
    limit: int = 0

    async def grow(self, size: int) -> None:
        """Waits until the share holds `size` bytes, capped at its limit. Raises `TimeoutError`."""
        await self.memory.give(self, min(size, self.limit))

    def expect(self, limit: int) -> None:
        """Gives back all memory, and begins a body of up to `limit` bytes, capped at the whole memory."""
        self.give_back()
        self.limit = min(limit, self.memory.limit)

    def settle(self, size: int) -> None:
        """Fixes the size of a body that was read to its end."""
        self.held = self.limit = min(size, self.held)
        self.memory.serve()

    def give_back(self) -> None:
        """Gives back all memory."""
        self.held = self.limit = 0
        self.memory.serve()


@dataclass(eq=False, kw_only=True)
class _Request:
    share: Share
    #: Bytes that the share is to hold.
    size: int
    #: Done once the share holds them.
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Memory:
    """A number of bytes for all shares together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._shares: set[Share] = set()
        self._requests: list[_Request] = []

    @property
    def held(self) -> int:
        """Bytes that all shares hold now."""
        return sum(share.held for share in self._shares)

    @contextmanager
    def share(self, *, until: float) -> Iterator[Share]:
        """Counts the bodies that this task reads in the block; the block must keep none of them after its end."""
        share = Share(memory=self, until=until)
        self._shares.add(share)
        before = _share.set(share)
        try:
            yield share
        finally:
            _share.reset(before)
            share.give_back()
            self._shares.remove(share)

    async def give(self, share: Share, size: int) -> None:
        """Waits until a share may hold `size` bytes. Raises `TimeoutError` at the share's deadline."""
        request = _Request(share=share, size=size)
        self._requests.append(request)
        try:
            self.serve()
            if not request.granted.done():
                with paused_timeouts():
                    async with asyncio.timeout(share.until - time.monotonic()):
                        await request.granted
        finally:
            if request in self._requests:
                self._requests.remove(request)
                self.serve()

    def serve(self) -> None:
        """Grants the waiting requests that fit now: bodies that have begun first, then new ones in order."""
        granted = [self._grant(request) for request in tuple(self._requests) if request.share.held]
        if all(granted):
            for request in tuple(self._requests):
                if not self._grant(request):
                    break

    def _grant(self, request: _Request) -> bool:
        """Grants a request if every body can still finish; returns whether it did."""
        held, request.share.held = request.share.held, request.size
        if not self._can_all_finish():
            request.share.held = held
            return False
        self._requests.remove(request)
        if not request.granted.done():
            request.granted.set_result(None)
        return True

    def _can_all_finish(self) -> bool:
        """Returns whether all shares that hold memory can grow to their limits, one after the other."""
        free = self.limit - self.held
        for share in sorted(self._shares, key=lambda share: share.limit - share.held):
            if share.held and share.limit - share.held > free:
                return False
            free += share.held
        return True


_share: ContextVar[Share | None] = ContextVar("share", default=None)
_clocks: ContextVar[tuple[asyncio.Timeout, ...]] = ContextVar("clocks", default=())


async def read_body(parts: AsyncIterable[bytes], *, length: int | None, limit: int, copies: int) -> bytes:
    """Reads a body and counts it `copies` times in the share of this task, if there is one.

    Stops as soon as the body has more than `limit` bytes, so a longer result means that the body is too large. `length`
    is the announced size in bytes, None when unknown. The body is counted until the next body, `give_back`, or the end
    of the share. Raises `TimeoutError` when there is no memory in time.
    """
    share = _share.get() or Share(memory=Memory(sys.maxsize), until=inf)
    share.expect(copies * min(limit, limit if length is None else length))
    body, size, counted = BytesIO(), 0, UNCOUNTED
    try:
        async for part in parts:
            size += len(part)
            if size > counted:
                counted = size + STEP
                await share.grow(copies * counted)
            body.write(part)
            if size > limit:
                break
    except BaseException:
        share.give_back()
        raise
    share.settle(copies * size)
    return body.getvalue()


async def expect(size: int, *, copies: int) -> None:
    """Counts `size` bytes `copies` times in the share of this task, before they are read in one piece."""
    share = _share.get()
    if share is not None:
        share.expect(copies * size)
        await share.grow(copies * size)


def give_back() -> None:
    """Reports that this task keeps nothing of the last body it has read."""
    share = _share.get()
    if share is not None:
        share.give_back()


@asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[None]:
    """Works like `asyncio.timeout`, but does not count the time for which the block waits in `paused_timeouts`."""
    async with asyncio.timeout(seconds) as clock:
        before = _clocks.set((*_clocks.get(), clock))
        try:
            yield
        finally:
            _clocks.reset(before)


@contextmanager
def paused_timeouts() -> Iterator[None]:
    """Stops the clocks of every enclosing `timeout` while the block waits for a resource of this process."""
    loop = asyncio.get_running_loop()
    since, due = loop.time(), {clock: clock.when() for clock in _clocks.get() if not clock.expired()}
    for clock in due:
        clock.reschedule(None)
    try:
        yield
    finally:
        for clock, moment in due.items():
            if moment is not None:
                clock.reschedule(moment + loop.time() - since)
