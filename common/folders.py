"""Folders of a bucket, many at a time: what is in them, and how they are emptied."""

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from common.object_store import PAGE, ObjectStore, StorageDenied, StorageUnavailable

Trouble = StorageUnavailable | StorageDenied


async def empty(store: ObjectStore, folders: Sequence[str]) -> Mapping[str, int | Trouble]:
    """Delete what is in folders (their names end with `/`) until nothing is; per folder, how many objects there were.

    A folder that cannot be emptied now has its trouble instead, and holds up no other.
    """
    ends: dict[str, int | Trouble] = dict.fromkeys(folders, 0)
    left = sorted(ends)
    while left:
        try:
            found = await _names(store, left)
        except (StorageUnavailable, StorageDenied) as trouble:
            return ends | dict.fromkeys(left, trouble)
        names = [(folder, name) for folder in left for name in found[folder]]
        gone = await asyncio.gather(*(store.delete(name) for _, name in names), return_exceptions=True)
        for (folder, _), end in zip(names, gone, strict=True):
            before = ends[folder]
            if isinstance(end, StorageUnavailable | StorageDenied):
                ends[folder] = end
            elif isinstance(end, BaseException):
                raise end
            elif isinstance(before, int):
                ends[folder] = before + 1
        left = [folder for folder in left if found[folder] and isinstance(ends[folder], int)]
    return ends


async def _names(store: ObjectStore, folders: Sequence[str]) -> dict[str, list[str]]:
    """Names in folders, which are in order: at most a page of each.

    Folders that are made one after the other lie side by side, so that one list mostly has all of them.
    """
    found: dict[str, list[str]] = {folder: [] for folder in folders}
    names = await store.names_between(folders[0], _end(folders[-1]))
    for name in names:
        folder = folders[bisect_right(folders, name) - 1]
        if name.startswith(folder):
            found[folder].append(name)
    if len(names) < PAGE:
        return found
    unseen = [folder for folder in folders if _end(folder) > names[-1]]
    lists = await asyncio.gather(*(store.names_between(folder, _end(folder)) for folder in unseen))
    return found | dict(zip(unseen, lists, strict=True))


def _end(folder: str) -> str:
    """The first name behind all that a folder can have."""
    return folder.removesuffix("/") + chr(ord("/") + 1)
