"""One bucket of Google Cloud Storage, for asyncio: create-only writes, copies inside the store, typed errors."""

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import google_crc32c
import requests
from google.api_core import exceptions as gcs
from google.auth.exceptions import GoogleAuthError, TransportError

from common.bounded_http import UNTAKEN_SECONDS, within
from common.errors import DependencyUnavailable
from common.storage_client import storage_client
from common.telemetry import metrics, registry

T = TypeVar("T")
#: Seconds in which an operation sends all of its requests, including the wait for a free thread.
OPERATION_SECONDS = 30.0
#: Longest silence of the store within a request, in seconds.
TIMEOUT_SECONDS = 30.0
# Options of each request: the library retries nothing, as the caller's loop decides.
_ONCE: dict[str, Any] = {"timeout": TIMEOUT_SECONDS, "retry": None}
#: A write has happened this many seconds after the operation began, or never will. Nothing is sent after
#: `OPERATION_SECONDS`; the operating system then drops what the store does not accept (`common.bounded_http`); and the
#: store executes within 20 s what it has received.
LONGEST_WRITE_SECONDS = OPERATION_SECONDS + UNTAKEN_SECONDS + 20.0
#: Objects of one page of a list.
PAGE = 1000


class StorageUnavailable(DependencyUnavailable):
    """The store was unreachable or failed temporarily; it may have executed the operation."""


class StorageDenied(Exception):
    """The store refuses this process's credential."""


class ObjectMissing(Exception):
    """There is no such object."""


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
        self._client = storage_client(threads)
        self._bucket = self._client.bucket(bucket)
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
        headers = {"content_type": content_type, "cache_control": cache_control, "metadata": dict(metadata)}
        return await self._run(self._copy, source_bucket, source, name, headers, expected_size)

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
        self._client.close()

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
        blob = self._bucket.blob(name)
        blob.metadata = dict(metadata)
        try:
            blob.upload_from_string(
                data,
                content_type=content_type,
                if_generation_match=0,
                checksum="crc32c",
                **_ONCE,
            )
        except gcs.PreconditionFailed:
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
        data: bytes = self._bucket.blob(name).download_as_bytes(**_ONCE)
        return data

    def _stat(self, name: str) -> ObjectInfo | None:
        blob = self._bucket.get_blob(name, **_ONCE)
        return None if blob is None else _info(blob)

    def _list(self, prefix: str) -> list[ObjectInfo]:
        blobs = self._client.list_blobs(self._bucket, prefix=prefix, max_results=PAGE, **_ONCE)
        return [_info(blob) for blob in blobs]

    def _names(self, start: str, end: str | None, limit: int) -> list[str]:
        blobs = self._client.list_blobs(
            self._bucket,
            start_offset=start or None,
            end_offset=end,
            max_results=limit,
            fields="items(name),nextPageToken",
            **_ONCE,
        )
        return [blob.name for blob in blobs]

    def _copy(self, source_bucket: str, source: str, name: str, headers: Mapping[str, Any], expected_size: int) -> bool:
        original = self._client.bucket(source_bucket).get_blob(source, **_ONCE)
        if original is None:
            raise ObjectMissing(f"{source} is not in {source_bucket}.")
        if original.size != expected_size:
            raise ObjectDiffers(f"{source} has {original.size} bytes, not {expected_size}.")
        copy = self._bucket.blob(name)
        for attribute, value in headers.items():
            setattr(copy, attribute, value)
        # Of the generation that was just described, and only if there is no object of the new name.
        rewrite = partial(copy.rewrite, original, if_generation_match=0, **_ONCE)
        try:
            token, _, _ = rewrite()
            while token is not None:
                token, _, _ = rewrite(token=token)
        except gcs.PreconditionFailed:
            self._must_equal(name, size=original.size, crc32c=original.crc32c)
            return False
        # The last response described the copy.
        if (copy.size, copy.crc32c) != (original.size, original.crc32c):
            raise ObjectConflict(f"The copy {name} has other content than {source}.")
        return True

    def _delete(self, name: str) -> bool:
        try:
            self._bucket.delete_blob(name, **_ONCE)
        except gcs.NotFound:
            return False
        return True


def checksum(data: bytes) -> str:
    """Returns the CRC32C checksum in base64, as the store writes it."""
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _info(blob: Any) -> ObjectInfo:
    return ObjectInfo(
        name=blob.name,
        size=blob.size,
        crc32c=blob.crc32c,
        content_type=blob.content_type or "",
        metadata=dict(blob.metadata or {}),
    )


def _with_typed_errors(ends_at: float, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    try:
        with within(ends_at):
            return work(*arguments)
    except (gcs.Unauthorized, gcs.Forbidden) as error:
        raise StorageDenied("The store refuses this service's credential.") from error
    except gcs.NotFound as error:
        raise ObjectMissing("There is no such object.") from error
    except GoogleAuthError as error:
        if error.retryable or isinstance(error, TransportError):
            raise StorageUnavailable("The credential for the store could not be fetched.") from error
        raise StorageDenied("This service's credential is not valid any more.") from error
    except (gcs.GoogleAPIError, requests.RequestException, ConnectionError, TimeoutError) as error:
        raise StorageUnavailable(f"The store failed: {type(error).__name__}.") from error
