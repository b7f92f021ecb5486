"""Memory for what is read from others, with one bound for all of a process: who would pass it waits for his turn.

Lengths are seldom told beforehand. So each body takes memory as it grows, and may grow while all that are being read
could still end one after the other, each as large as it may become (the banker's algorithm): no two ever wait for each
other, whatever comes. Bodies begin in the order in which they came, and those that have begun go first.
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

#: The first bytes of each body are not counted; the others are taken in steps of so many.
UNCOUNTED = STEP = 1024 * 1024


@dataclass(eq=False, kw_only=True)
class Share:
    """What one task has of the memory, for one body at a time; waiting for more ends with `TimeoutError`.

    `until` is on the monotonic clock.
    """

    memory: "Memory"
    until: float
    held: int = 0
    most: int = 0

    async def grow(self, size: int) -> None:
        """Hold so much, at most all that there is."""
        await self.memory.give(self, min(size, self.most))

    def expect(self, most: int) -> None:
        """Give back what there was, and begin what may come to so much."""
        self.give_back()
        self.most = min(most, self.memory.most)

    def settle(self, size: int) -> None:
        """Be as large as this, and grow no more."""
        self.held = self.most = min(size, self.held)
        self.memory.serve()

    def give_back(self) -> None:
        """Hold nothing."""
        self.held = self.most = 0
        self.memory.serve()


@dataclass(eq=False, kw_only=True)
class _Wish:
    share: Share
    size: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Memory:
    """So many bytes for all shares together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._shares: set[Share] = set()
        self._wishes: list[_Wish] = []

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return sum(share.held for share in self._shares)

    @contextmanager
    def share(self, *, until: float) -> Iterator[Share]:
        """Count what this task reads in the block; when it ends, nothing of that is in memory any more."""
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
        """Let a share hold so much, in its turn."""
        wish = _Wish(share=share, size=size)
        self._wishes.append(wish)
        try:
            self.serve()
            if not wish.granted.done():
                with standing_clocks():
                    async with asyncio.timeout(share.until - time.monotonic()):
                        await wish.granted
        finally:
            if wish in self._wishes:
                self._wishes.remove(wish)
                self.serve()

    def serve(self) -> None:
        """Give to those who wait what may be given now."""
        growing = [self._try(wish) for wish in tuple(self._wishes) if wish.share.held]
        if all(growing):
            for wish in tuple(self._wishes):
                if not self._try(wish):
                    break

    def _try(self, wish: _Wish) -> bool:
        held, wish.share.held = wish.share.held, wish.size
        if not self._can_all_end():
            wish.share.held = held
            return False
        self._wishes.remove(wish)
        if not wish.granted.done():
            wish.granted.set_result(None)
        return True

    def _can_all_end(self) -> bool:
        """Whether those who hold something can become as large as they may, one after the other."""
        free = self.most - self.held
        for share in sorted(self._shares, key=lambda one: one.most - one.held):
            if share.held and share.most - share.held > free:
                return False
            free += share.held
        return True


_share: ContextVar[Share | None] = ContextVar("share", default=None)
_clocks: ContextVar[tuple[asyncio.Timeout, ...]] = ContextVar("clocks", default=())


async def read_body(parts: AsyncIterable[bytes], *, length: int | None, most: int, copies: int) -> bytes:
    """A body, cut after `most` bytes, counted `copies` times in the share of this task, if there is one.

    `length` is what was told of it. It is counted until the next body, `give_back`, or the end of the share.
    """
    share = _share.get() or Share(memory=Memory(sys.maxsize), until=inf)
    share.expect(copies * min(most, most if length is None else length))
    body, size, room = BytesIO(), 0, UNCOUNTED
    try:
        async for part in parts:
            size += len(part)
            if size > room:
                room = size + STEP
                await share.grow(copies * room)
            body.write(part)
            if size > most:
                break
    except BaseException:
        share.give_back()
        raise
    share.settle(copies * size)
    return body.getvalue()


async def expect(size: int, *, copies: int) -> None:
    """Count so many bytes `copies` times in the share of this task, before they are read in one piece."""
    share = _share.get()
    if share is not None:
        share.expect(copies * size)
        await share.grow(copies * size)


def give_back() -> None:
    """Nothing of the last body that this task has read is in memory any more."""
    share = _share.get()
    if share is not None:
        share.give_back()


@asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but the time in which the block waits for memory does not count."""
    async with asyncio.timeout(seconds) as clock:
        before = _clocks.set((*_clocks.get(), clock))
        try:
            yield
        finally:
            _clocks.reset(before)


@contextmanager
def standing_clocks() -> Iterator[None]:
    """A block in which something is waited for that is short: clocks of `timeout` around it stand."""
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
