"""One bucket of Google Cloud Storage, for asyncio: create-only writes, copies inside the store, typed errors."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from common.bounded_http import UNTAKEN_SECONDS, within
from common.storage_api import (
    TIMEOUT_SECONDS,
    ConditionFailed,
    ObjectMissing,
    Resource,
    StorageApi,
    StorageDenied,
    StorageUnavailable,
    checksum,
)
from common.telemetry import metrics, registry

__all__ = [
    "LONGEST_WRITE_SECONDS",
    "OPERATION_SECONDS",
    "PAGE",
    "TIMEOUT_SECONDS",
    "ObjectConflict",
    "ObjectDiffers",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "StorageDenied",
    "StorageUnavailable",
    "checksum",
]

T = TypeVar("T")
#: Seconds in which an operation sends all of its requests, including the wait for a free thread.
OPERATION_SECONDS = 30.0
#: A write has happened this many seconds after the operation began, or never will. Nothing is sent after
#: `OPERATION_SECONDS`; the operating system then drops what the store does not accept (`common.bounded_http`); and the
#: store executes within 20 s what it has received.
LONGEST_WRITE_SECONDS = OPERATION_SECONDS + UNTAKEN_SECONDS + 20.0
#: Objects of one page of a list.
PAGE = 1000


class ObjectConflict(Exception):
    """There is an object of this name with other content."""


class ObjectDiffers(Exception):
    """The object to be copied does not have the expected size."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """Attributes of a stored object."""

    #: Name in the bucket.
    name: str
    #: Size in bytes.
    size: int
    #: CRC32C checksum in base64, as the store writes it.
    crc32c: str
    #: Media type; empty when none is set.
    content_type: str
    #: Custom metadata.
    metadata: Mapping[str, str]


class ObjectStore:
    """A bucket. Every method may raise `StorageUnavailable` or `StorageDenied`; all may be repeated safely."""

    def __init__(self, bucket: str, *, threads: int = 16, operation_seconds: float = OPERATION_SECONDS) -> None:
        self._operation_seconds = operation_seconds
        self._api = StorageApi(bucket, connections=threads)
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"storage-{bucket}")
        self._open, self._lock = 0, threading.Lock()
        running, waiting = lambda: min(self._open, threads), lambda: max(self._open - threads, 0)
        for state, read in (("limit", lambda: threads), ("running", running), ("waiting", waiting)):
            metrics.read(registry.STORAGE_OPERATIONS, read, bucket, state)

    async def put(self, name: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Creates an object; returns False when an equal one exists. Raises `ObjectConflict` for other content."""
        return await self._run(self._put, name, data, content_type, metadata)

    async def get(self, name: str) -> bytes:
        """Returns the content of an object. Raises `ObjectMissing`."""
        return await self._run(self._get, name)

    async def stat(self, name: str) -> ObjectInfo | None:
        """Returns the attributes of an object; None when it does not exist."""
        return await self._run(self._stat, name)

    async def find(self, prefix: str) -> list[ObjectInfo]:
        """Returns the first 1,000 objects whose names begin with a prefix."""
        return await self._run(self._list, prefix)

    async def names(self, *, after: str, limit: int) -> list[str]:
        """Returns the first `limit` names that sort after a name, in byte order."""
        # The list begins with `after` itself, if it still exists.
        names = await self._run(self._names, after, None, limit + 1)
        return [name for name in names if name > after][:limit]

    async def names_between(self, start: str, end: str) -> list[str]:
        """Returns the first 1,000 names from `start` (inclusive) to `end` (exclusive), in byte order."""
        return await self._run(self._names, start, end, PAGE)

    async def copy_from(
        self,
        source_bucket: str,
        source: str,
        name: str,
        *,
        content_type: str,
        cache_control: str,
        metadata: Mapping[str, str],
        expected_size: int,
    ) -> bool:
        """Copies an object into this bucket inside the store; returns False when an equal one exists.

        `metadata` replaces that of the source; it must not be empty, as that could mean the source's. `expected_size`
        is in bytes. Raises `ObjectMissing` or `ObjectDiffers` for the source, `ObjectConflict` for an object of this
        name with other content.
        """
        description = {"contentType": content_type, "cacheControl": cache_control, "metadata": dict(metadata)}
        return await self._run(self._copy, source_bucket, source, name, description, expected_size)

    async def delete(self, name: str) -> bool:
        """Deletes an object; returns False when it did not exist."""
        return await self._run(self._delete, name)

    async def empty(self, prefix: str) -> int:
        """Deletes all objects whose names begin with a prefix, until none is left; returns their number."""
        count = 0
        while page := await self.find(prefix):
            await asyncio.gather(*(self.delete(info.name) for info in page))
            count += len(page)
        return count

    async def close(self) -> None:
        """Waits for open requests and closes all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._api.close()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        ends_at = time.monotonic() + self._operation_seconds
        began_at, outcome = time.monotonic(), "refused"
        self._count(1)
        submitted = self._threads.submit(_with_typed_errors, ends_at, work, arguments)
        # Not when its caller is canceled, but when its thread is free again.
        submitted.add_done_callback(lambda _: self._count(-1))
        try:
            result = await asyncio.wrap_future(submitted)
            outcome = "done"
        except StorageUnavailable:
            outcome = "away"
            raise
        finally:
            operation = work.__name__.lstrip("_")
            metrics.observe(registry.STORAGE_SECONDS, time.monotonic() - began_at, operation, outcome)
        return result

    def _count(self, by: int) -> None:
        with self._lock:
            self._open += by

    def _put(self, name: str, data: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        try:
            self._api.insert(name, data, content_type=content_type, metadata=metadata)
        except ConditionFailed:
            self._must_equal(name, size=len(data), crc32c=checksum(data))
            return False
        return True

    def _must_equal(self, name: str, *, size: int, crc32c: str) -> None:
        """Accepts an equal object: an earlier attempt may have written it and lost the response."""
        existing = self._stat(name)
        if existing is None:
            raise StorageUnavailable(f"{name} was deleted meanwhile.")
        if (existing.size, existing.crc32c) != (size, crc32c):
            raise ObjectConflict(f"{name} exists with other content.")

    def _get(self, name: str) -> bytes:
        return self._api.media(name)

    def _stat(self, name: str) -> ObjectInfo | None:
        found = self._api.resource(name)
        return None if found is None else _info(found)

    def _list(self, prefix: str) -> list[ObjectInfo]:
        return [_info(found) for found in self._api.resources({"prefix": prefix}, limit=PAGE)]

    def _names(self, start: str, end: str | None, limit: int) -> list[str]:
        offsets = {"startOffset": start, "endOffset": end or ""}
        query = {name: value for name, value in offsets.items() if value} | {"fields": "items(name),nextPageToken"}
        return [found["name"] for found in self._api.resources(query, limit=limit)]

    def _copy(
        self, source_bucket: str, source: str, name: str, description: Mapping[str, Any], expected_size: int
    ) -> bool:
        found = self._api.resource(source, bucket=source_bucket)
        if found is None:
            raise ObjectMissing(f"{source} is not in {source_bucket}.")
        original = _info(found)
        if original.size != expected_size:
            raise ObjectDiffers(f"{source} has {original.size} bytes, not {expected_size}.")
        try:
            # Only as long as the source is the object that was just described, and there is none of the new name.
            copied = _info(self._api.rewrite(found, name, description))
        except ConditionFailed:
            self._must_equal(name, size=original.size, crc32c=original.crc32c)
            return False
        if (copied.size, copied.crc32c) != (original.size, original.crc32c):
            raise ObjectConflict(f"The copy {name} has other content than {source}.")
        return True

    def _delete(self, name: str) -> bool:
        try:
            self._api.delete(name)
        except ObjectMissing:
            return False
        return True


def _info(found: Resource) -> ObjectInfo:
    try:
        return ObjectInfo(
            name=found["name"],
            size=int(found["size"]),
            crc32c=found["crc32c"],
            content_type=found.get("contentType", ""),
            metadata=found.get("metadata", {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageUnavailable("The store described an object incompletely.") from error


def _with_typed_errors(ends_at: float, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    try:
        with within(ends_at):
            return work(*arguments)
    except TimeoutError as error:
        raise StorageUnavailable("The operation's time is over.") from error
