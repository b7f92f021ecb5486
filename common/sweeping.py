"""Sweeping a bucket: what is in it is told, a page at a time, to somebody who knows what should be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from common.loops import run_every

#: Whether a page is due is asked so often.
POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class NamePage:
    """A page to be read: so many names at most, after this one."""

    after: str
    most: int


class Desk(Protocol):
    """Remembers how far the bucket was read. Methods raise `ServiceError` when they cannot be answered."""

    async def claim_page(self, token: str) -> NamePage | None:
        """The next page, for this worker alone; None when none is due."""

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """Take what there is on the page; returns counts of what is wrong with it."""


class Sweeper:
    """Reads pages as they come due. Nothing is remembered here: who dies over a page leaves it to the next."""

    def __init__(self, desk: Desk, names: Callable[[str, int], Awaitable[Sequence[str]]]) -> None:
        self._desk = desk
        self._names = names

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until told to stop."""
        await run_every("sweep", self.run_once, interval=POLL_SECONDS, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Read a page if one is due; returns counts."""
        token = str(uuid4())
        page = await self._desk.claim_page(token)
        if page is None:
            return {}
        names = await self._names(page.after, page.most)
        return await self._desk.report_page(token, names, is_end=len(names) < page.most)
