"""Sweep of a bucket: reports its object names, page by page, to the service that knows which should exist."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from common.loops import run_every

#: Seconds between two polls for a due page.
POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class NamePage:
    """A page of object names to be read."""

    #: The page begins after this name; empty: at the start of the bucket.
    after: str
    #: Number of names of a full page.
    limit: int


class SweepService(Protocol):
    """Remembers how far the bucket was read. Methods raise `ServiceError` when a call fails."""

    async def claim_page(self, token: str) -> NamePage | None:
        """Claims the next page for this worker; returns None when no page is due."""

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """Reports the names of a page; returns counts of unexpected objects. `is_end`: the bucket has no more names."""


class Sweeper:
    """Reads and reports pages as they are due. It keeps no state: another worker repeats an unreported page."""

    def __init__(self, service: SweepService, names: Callable[[str, int], Awaitable[Sequence[str]]]) -> None:
        self._service = service
        self._names = names

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop` is set."""
        await run_every("sweep", self.run_once, interval=POLL_SECONDS, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Reads and reports a page if one is due; returns counts."""
        token = str(uuid4())
        page = await self._service.claim_page(token)
        if page is None:
            return {}
        names = await self._names(page.after, page.limit)
        return await self._service.report_page(token, names, is_end=len(names) < page.limit)
