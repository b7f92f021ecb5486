"""One bucket of Google Cloud Storage, from asyncio: create-only writes, copies inside the store, typed failures."""

import asyncio
import base64
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import google_crc32c
import requests
from google.api_core import exceptions as gcs
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import storage
from google.oauth2.credentials import Credentials

from common.bounded_http import UNTAKEN_SECONDS, BoundedAdapter, within
from common.errors import DependencyUnavailable

T = TypeVar("T")
#: Seconds in which an operation asks for all that it asks for; it waits for its turn within them, too.
OPERATION_SECONDS = 30.0
#: Longest silence of the store within a request.
TIMEOUT_SECONDS = 30.0
#: What an operation asks for has happened this long after it was begun, or never does. Nothing is sent once the
#: operation's time is over (`OPERATION_SECONDS`), what the system still holds then is dropped when the store does not
#: take it (`common.bounded_http`), and what the store has got, it has done within 20 s.
LONGEST_WRITE_SECONDS = OPERATION_SECONDS + UNTAKEN_SECONDS + 20.0
PAGE = 1000


class StorageUnavailable(DependencyUnavailable):
    """The store could not be reached or answered with a fault that should pass; whether it did the work is unknown."""


class StorageDenied(Exception):
    """The store refuses this process's credential."""


class ObjectMissing(Exception):
    """There is no such object."""


class ObjectConflict(Exception):
    """There is an object of that name with other content."""


class ObjectDiffers(Exception):
    """The object to be copied is not the one that was meant."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What the store says of an object; `crc32c` in base64, as the store writes it."""

    name: str
    size: int
    crc32c: str
    content_type: str
    metadata: Mapping[str, str]


class ObjectStore:
    """A bucket. Every method may raise `StorageUnavailable` or `StorageDenied`; all may be repeated."""

    def __init__(self, bucket: str, *, threads: int = 16, operation_seconds: float = OPERATION_SECONDS) -> None:
        self._operation_seconds = operation_seconds
        self._client = _client(threads)
        self._bucket = self._client.bucket(bucket)
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"storage-{bucket}")

    async def put(self, name: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Create an object; False when an equal one is there already. Raises `ObjectConflict` for another."""
        return await self._run(self._put, name, data, content_type, metadata)

    async def get(self, name: str) -> bytes:
        """Read an object. Raises `ObjectMissing`."""
        return await self._run(self._get, name)

    async def stat(self, name: str) -> ObjectInfo | None:
        """What the store knows of an object; None when there is none."""
        return await self._run(self._stat, name)

    async def find(self, prefix: str) -> list[ObjectInfo]:
        """The first 1,000 objects whose names begin so."""
        return await self._run(self._list, prefix)

    async def names(self, *, after: str, most: int) -> list[str]:
        """The first names behind one, in the order of their bytes."""
        # A list begins with the name itself, if it is still there.
        found = await self._run(self._names, after, None, most + 1)
        return [name for name in found if name > after][:most]

    async def names_between(self, start: str, end: str) -> list[str]:
        """The first 1,000 names from one on, and before another, in the order of their bytes."""
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
        """Copy an object into this bucket without its bytes passing here; False when an equal one is there already.

        `metadata` takes the place of the source's; give some, as none at all could mean the source's.
        Raises `ObjectMissing` or `ObjectDiffers` for the source, `ObjectConflict` for another object of that name.
        """
        headers = {"content_type": content_type, "cache_control": cache_control, "metadata": dict(metadata)}
        return await self._run(self._copy, source_bucket, source, name, headers, expected_size)

    async def delete(self, name: str) -> bool:
        """Delete an object; False when there was none."""
        return await self._run(self._delete, name)

    async def empty(self, prefix: str) -> int:
        """Delete every object whose name begins so, until there is none; returns how many there were."""
        count = 0
        while found := await self.find(prefix):
            await asyncio.gather(*(self.delete(one.name) for one in found))
            count += len(found)
        return count

    async def close(self) -> None:
        """Let requests end and close connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        ends_at = time.monotonic() + self._operation_seconds
        return await asyncio.get_running_loop().run_in_executor(self._threads, _translated, ends_at, work, arguments)

    def _put(self, name: str, data: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        blob = self._bucket.blob(name)
        blob.metadata = dict(metadata)
        try:
            blob.upload_from_string(
                data,
                content_type=content_type,
                if_generation_match=0,
                checksum="crc32c",
                timeout=TIMEOUT_SECONDS,
                retry=None,
            )
        except gcs.PreconditionFailed:
            self._must_equal(name, size=len(data), crc32c=checksum(data))
            return False
        return True

    def _must_equal(self, name: str, *, size: int, crc32c: str) -> None:
        """A failed precondition may be the echo of a write whose answer was lost."""
        there = self._stat(name)
        if there is None:
            raise StorageUnavailable(f"{name} went away meanwhile.")
        if (there.size, there.crc32c) != (size, crc32c):
            raise ObjectConflict(f"{name} is there with other content.")

    def _get(self, name: str) -> bytes:
        data: bytes = self._bucket.blob(name).download_as_bytes(timeout=TIMEOUT_SECONDS, retry=None)
        return data

    def _stat(self, name: str) -> ObjectInfo | None:
        blob = self._bucket.get_blob(name, timeout=TIMEOUT_SECONDS, retry=None)
        return None if blob is None else _info(blob)

    def _list(self, prefix: str) -> list[ObjectInfo]:
        found = self._client.list_blobs(
            self._bucket, prefix=prefix, max_results=PAGE, timeout=TIMEOUT_SECONDS, retry=None
        )
        return [_info(blob) for blob in found]

    def _names(self, start: str, end: str | None, most: int) -> list[str]:
        found = self._client.list_blobs(
            self._bucket,
            start_offset=start or None,
            end_offset=end,
            max_results=most,
            fields="items(name),nextPageToken",
            timeout=TIMEOUT_SECONDS,
            retry=None,
        )
        return [blob.name for blob in found]

    def _copy(self, source_bucket: str, source: str, name: str, headers: Mapping[str, Any], expected_size: int) -> bool:
        original = self._client.bucket(source_bucket).get_blob(source, timeout=TIMEOUT_SECONDS, retry=None)
        if original is None:
            raise ObjectMissing(f"{source} is not in {source_bucket}.")
        if original.size != expected_size:
            raise ObjectDiffers(f"{source} has {original.size} bytes, not {expected_size}.")
        there = self._stat(name)
        if there is not None:
            self._must_equal(name, size=original.size, crc32c=original.crc32c)
            return False
        copy = self._bucket.blob(name)
        for attribute, value in headers.items():
            setattr(copy, attribute, value)
        try:
            token, _, _ = copy.rewrite(original, if_generation_match=0, timeout=TIMEOUT_SECONDS, retry=None)
            while token is not None:
                token, _, _ = copy.rewrite(
                    original, token=token, if_generation_match=0, timeout=TIMEOUT_SECONDS, retry=None
                )
        except gcs.PreconditionFailed:
            self._must_equal(name, size=original.size, crc32c=original.crc32c)
            return False
        self._must_equal(name, size=original.size, crc32c=original.crc32c)
        return True

    def _delete(self, name: str) -> bool:
        try:
            self._bucket.delete_blob(name, timeout=TIMEOUT_SECONDS, retry=None)
        except gcs.NotFound:
            return False
        return True


def checksum(data: bytes) -> str:
    """CRC32C in base64, as the store writes it."""
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _info(blob: Any) -> ObjectInfo:
    return ObjectInfo(
        name=blob.name,
        size=blob.size,
        crc32c=blob.crc32c,
        content_type=blob.content_type or "",
        metadata=dict(blob.metadata or {}),
    )


def _translated(ends_at: float, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    try:
        with within(ends_at):
            return work(*arguments)
    except (gcs.Unauthorized, gcs.Forbidden) as error:
        raise StorageDenied("The store refuses this service's credential.") from error
    except gcs.NotFound as error:
        raise ObjectMissing("There is no such object.") from error
    except GoogleAuthError as error:
        if error.retryable or isinstance(error, TransportError):
            raise StorageUnavailable("The store's credential could not be had.") from error
        raise StorageDenied("This service's credential is not valid any more.") from error
    except (gcs.GoogleAPIError, requests.RequestException, ConnectionError, TimeoutError) as error:
        raise StorageUnavailable(f"The store failed: {type(error).__name__}.") from error


def _client(threads: int) -> Any:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        options = ClientOptions(api_endpoint=emulator)
        token = os.environ.get("STORAGE_EMULATOR_TOKEN")
        credentials = Credentials(token) if token else AnonymousCredentials()
        client = storage.Client(project="calotype", credentials=credentials, client_options=options)
    else:
        client = storage.Client()
    # One connection per thread, none thrown away; the library's own retries are off, the caller's loop decides.
    mounted = BoundedAdapter(pool_connections=threads, pool_maxsize=threads, pool_block=True, max_retries=0)
    client._http.mount("https://", mounted)
    client._http.mount("http://", mounted)
    return client
