"""Emptying folders of a bucket that somebody hands out, page after page for as long as some are due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import uuid4

from common.folders import Trouble
from common.leased_work import WakeUps
from common.logs import event
from common.loops import pause_until, run_every
from common.object_store import StorageDenied, StorageUnavailable

_LOG = logging.getLogger(__name__)
#: Folders of a page: all of them are emptied side by side.
PAGE = 64
#: Behind the hints: folders are asked for so often.
POLL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that is to be emptied, held under a token until it comes up again."""

    id: str
    prefix: str
    lease_token: str


class ClaimFolders(Protocol):
    """Hands out folders that are due, at most one per token, and takes note of those that were seen empty."""

    async def __call__(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """Raises `ServiceError` when it cannot be answered: what was emptied comes up again then."""


class Emptier:
    """Empties what it is given. A folder that cannot be emptied now comes up again by itself."""

    def __init__(
        self,
        *,
        claim: ClaimFolders,
        empty: Callable[[Sequence[str]], Awaitable[Mapping[str, int | Trouble]]],
        is_folder: Callable[[str], bool],
        wakeups: WakeUps | None = None,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._claim = claim
        self._empty = empty
        self._is_folder = is_folder
        self._wakeups = wakeups
        self._may_begin = may_begin
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Empty until told to stop."""
        self._stop, woken = stop, asyncio.Event()
        hear = partial(self._hear, woken)
        listening = asyncio.create_task(run_every("deletions.hints", hear, interval=0.0, stop=stop))
        try:
            await run_every("deletions", self.run_once, interval=POLL_SECONDS, wake=woken, stop=stop)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def run_once(self) -> Mapping[str, int]:
        """Empty folders until none is due; returns counts. A page of which nothing could be emptied raises."""
        counts = {"folders": 0, "objects": 0, "postponed": 0}
        emptied: list[Folder] = []
        while (tokens := self._tokens()) or emptied:
            held = await self._claim(tokens, emptied=emptied)
            if not held:
                break
            ends = await self._empty_all(held)
            emptied = [folder for folder in held if isinstance(ends.get(folder.prefix), int)]
            troubles = [end for end in ends.values() if not isinstance(end, int)]
            if troubles and not emptied:
                raise StorageUnavailable(str(troubles[0])) from troubles[0]
            counts["folders"] += len(emptied)
            counts["objects"] += sum(end for end in ends.values() if isinstance(end, int))
            counts["postponed"] += len(troubles)
        return counts

    def _tokens(self) -> list[str]:
        return [str(uuid4()) for _ in range(PAGE)] if self._may_begin() and not self._stop.is_set() else []

    async def _empty_all(self, held: Sequence[Folder]) -> Mapping[str, int | Trouble]:
        """How many objects there were, or the trouble, of each folder that may be emptied."""
        for folder in held:
            if not self._is_folder(folder.prefix):
                event(_LOG, logging.ERROR, "deletion.refused", prefix=folder.prefix, why="it is no job's folder")
        prefixes = [folder.prefix for folder in held if self._is_folder(folder.prefix)]
        ends = await self._empty(prefixes)
        denied = [prefix for prefix, end in ends.items() if isinstance(end, StorageDenied)]
        if denied:
            event(_LOG, logging.ERROR, "deletion.denied", count=len(denied), prefix=denied[0])
        return ends

    async def _hear(self, woken: asyncio.Event) -> None:
        if self._wakeups is None:
            await pause_until(self._stop, seconds=POLL_SECONDS)
        elif await self._wakeups.wait(PAGE, seconds=POLL_SECONDS):
            woken.set()
