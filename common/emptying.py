"""Deletion of bucket folders: claims the folders that are due, page by page, and deletes their objects."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import uuid4

from common.folders import StorageFailure
from common.leased_work import WakeUps
from common.logs import event
from common.loops import pause_until, run_every
from common.object_store import StorageDenied, StorageUnavailable

_LOG = logging.getLogger(__name__)
#: Folders of a page; they are emptied concurrently.
PAGE = 64
#: Seconds between two polls for due folders when no wake-up arrives.
POLL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder to be emptied, under a lease; when the lease ends, the folder is due again."""

    #: Id of the deletion.
    id: str
    #: Prefix of the object names; ends with `/`.
    prefix: str
    #: Token under which this worker holds the folder.
    lease_token: str
    #: Names of the objects to delete, without a list; empty: the folder is listed until it is empty.
    names: Sequence[str] = ()


class ClaimedFolder(Protocol):
    """A claimed folder as job-service sends it; the fields are those of `Folder`."""

    @property
    def id(self) -> str:
        """Id of the deletion."""

    @property
    def prefix(self) -> str:
        """Prefix of the object names."""

    @property
    def lease_token(self) -> str:
        """Token under which this worker holds the folder."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the objects to delete."""


def folder_of(claimed: ClaimedFolder) -> Folder:
    """Returns a claimed folder. Names beside the folder are left out; without any other, the folder is listed."""
    names = tuple(name for name in claimed.names if name.startswith(claimed.prefix))
    return Folder(id=claimed.id, prefix=claimed.prefix, lease_token=claimed.lease_token, names=names)


class ClaimFolders(Protocol):
    """Claims due folders, and reports those that are empty."""

    async def __call__(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """Returns up to one due folder per token, and closes the deletions of the folders in `emptied`.

        Raises `ServiceError` when the call gets no response; the emptied folders are then due again later.
        """


#: Empties the folders that it is given: those of the first argument by lists, those of the second by the names in it.
#: Returns the number of deleted objects, or the error, of each folder.
Empty = Callable[[Sequence[str], Mapping[str, Sequence[str]]], Awaitable[Mapping[str, int | StorageFailure]]]


class Emptier:
    """Empties the folders that it claims. A folder that cannot be emptied now is due again when its lease ends."""

    def __init__(
        self,
        *,
        claim: ClaimFolders,
        empty: Empty,
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
        """Empties folders until `stop` is set."""
        self._stop, woken = stop, asyncio.Event()
        wait = partial(self._wait_for_wakeup, woken)
        listening = asyncio.create_task(run_every("deletions.wakeups", wait, interval=0.0, stop=stop))
        try:
            await run_every("deletions", self.run_once, interval=POLL_SECONDS, wake=woken, stop=stop)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def run_once(self) -> Mapping[str, int]:
        """Empties folders until none is due; returns counts.

        Raises `StorageUnavailable` when no folder of a page could be emptied.
        """
        counts = {"folders": 0, "objects": 0, "postponed": 0}
        emptied: list[Folder] = []
        while (tokens := self._tokens()) or emptied:
            claimed = await self._claim(tokens, emptied=emptied)
            if not claimed:
                break
            results = await self._empty_all(claimed)
            emptied = [folder for folder in claimed if isinstance(results.get(folder.prefix), int)]
            errors = [result for result in results.values() if not isinstance(result, int)]
            if errors and not emptied:
                raise StorageUnavailable(str(errors[0])) from errors[0]
            counts["folders"] += len(emptied)
            counts["objects"] += sum(result for result in results.values() if isinstance(result, int))
            counts["postponed"] += len(errors)
        return counts

    def _tokens(self) -> list[str]:
        return [str(uuid4()) for _ in range(PAGE)] if self._may_begin() and not self._stop.is_set() else []

    async def _empty_all(self, claimed: Sequence[Folder]) -> Mapping[str, int | StorageFailure]:
        """Returns the number of deleted objects, or the error, of each folder; refuses what is no folder of a job."""
        for folder in claimed:
            if not self._is_folder(folder.prefix):
                event(_LOG, logging.ERROR, "deletion.refused", prefix=folder.prefix, reason="it is no job's folder")
        ours = [folder for folder in claimed if self._is_folder(folder.prefix)]
        listed = [folder.prefix for folder in ours if not folder.names]
        results = await self._empty(listed, {folder.prefix: folder.names for folder in ours if folder.names})
        denied = [prefix for prefix, result in results.items() if isinstance(result, StorageDenied)]
        if denied:
            event(_LOG, logging.ERROR, "deletion.denied", count=len(denied), prefix=denied[0])
        return results

    async def _wait_for_wakeup(self, woken: asyncio.Event) -> None:
        if self._wakeups is None:
            await pause_until(self._stop, seconds=POLL_SECONDS)
        elif await self._wakeups.wait(PAGE, seconds=POLL_SECONDS):
            woken.set()
