"""Deletion of all objects in several folders of a bucket at once."""

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from common.object_store import PAGE, ObjectStore, StorageDenied, StorageUnavailable

StorageFailure = StorageUnavailable | StorageDenied


async def empty(
    store: ObjectStore, folders: Sequence[str], names: Mapping[str, Sequence[str]]
) -> Mapping[str, int | StorageFailure]:
    """Deletes the objects of folders (names end with `/`) until none is left; returns how many each folder had.

    `names` has further folders whose objects are deleted by their names: these folders are not listed. For a folder
    that cannot be emptied now, the value is the error; the other folders are emptied all the same.
    """
    results: dict[str, int | StorageFailure] = dict.fromkeys([*folders, *names], 0)
    await _delete(store, names, results)
    remaining = sorted(set(folders) - set(names))
    while remaining:
        try:
            names_of = await _names(store, remaining)
        except (StorageUnavailable, StorageDenied) as error:
            return results | dict.fromkeys(remaining, error)
        await _delete(store, names_of, results)
        remaining = [folder for folder in remaining if names_of[folder] and isinstance(results[folder], int)]
    return results


async def _delete(
    store: ObjectStore, names_of: Mapping[str, Sequence[str]], results: dict[str, int | StorageFailure]
) -> None:
    """Deletes objects by folder; adds their number, or sets the error, of each folder in `results`."""
    names = [(folder, name) for folder, names in names_of.items() for name in names]
    deletions = await asyncio.gather(*(store.delete(name) for _, name in names), return_exceptions=True)
    for (folder, _), deletion in zip(names, deletions, strict=True):
        count = results[folder]
        if isinstance(deletion, StorageUnavailable | StorageDenied):
            results[folder] = deletion
        elif isinstance(deletion, BaseException):
            raise deletion
        elif isinstance(count, int):
            results[folder] = count + 1


async def _names(store: ObjectStore, folders: Sequence[str]) -> dict[str, list[str]]:
    """Returns up to one page of object names per folder; `folders` are sorted.

    Folders that were made one after the other are adjacent, so that one list mostly covers all of them.
    """
    names_of: dict[str, list[str]] = {folder: [] for folder in folders}
    names = await store.names_between(folders[0], _end(folders[-1]))
    for name in names:
        folder = folders[bisect_right(folders, name) - 1]
        if name.startswith(folder):
            names_of[folder].append(name)
    if len(names) < PAGE:
        return names_of
    unlisted = [folder for folder in folders if _end(folder) > names[-1]]
    lists = await asyncio.gather(*(store.names_between(folder, _end(folder)) for folder in unlisted))
    return names_of | dict(zip(unlisted, lists, strict=True))


def _end(folder: str) -> str:
    """Returns the first name that sorts after all names of a folder."""
    return folder.removesuffix("/") + chr(ord("/") + 1)
