"""Objects and their bytes, consistent after any crash: a confirmed write is there, an interrupted one is not.

Bytes come to disk first, then the row that makes an object of them. After a crash in between, a file without a row is
removed at the next start; one that has a row and was not moved to its place yet is moved then.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from cli.stack.object_store.content import Contents, Incoming
from cli.stack.object_store.description import Description
from cli.stack.object_store.index import Index, StoredObject
from cli.stack.object_store.names import InvalidName, valid_name

DEFAULT_TYPE = "application/octet-stream"


class Missing(Exception):
    """There is no such object."""


class Store:
    """All buckets, in one folder. Any thread may use it.

    Each method that gets a name raises `InvalidName`; each raises `OSError` or `sqlite3.Error`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        # First, as another process may have the folder.
        self._index = Index(folder / "index.db")
        self._contents = Contents(folder)
        for content in self._contents.incoming():
            if self._index.has(content):
                self._contents.keep(content)
            else:
                self._contents.discard(content)
        self._remove_unused()

    def begin(self) -> Incoming:
        """A file for an upload; the caller passes it to `put` or discards it."""
        return self._contents.begin()

    def put(
        self, incoming: Incoming, bucket: str, description: Description, *, generation_match: int | None
    ) -> StoredObject:
        """Make an object of an uploaded file, which is discarded on failure. Raises `PreconditionFailed`."""
        try:
            valid_name(description.name)
            incoming.sync()
        except (InvalidName, OSError):
            incoming.discard()
            raise
        new = StoredObject(
            bucket=bucket,
            name=description.name,
            content=incoming.content,
            size=incoming.size,
            md5=incoming.digests.md5,
            crc32c=incoming.digests.crc32c,
            content_type=description.content_type or DEFAULT_TYPE,
            cache_control=description.cache_control or None,
            metadata=description.metadata,
        )
        with self._lock:
            try:
                written = self._index.write(new, generation_match=generation_match)
            except BaseException:
                if not self._index.has(incoming.content):
                    incoming.discard()
                raise
            self._contents.keep(incoming.content)
            self._remove_unused()
        return written

    def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        description: Description | None,
        *,
        source_generation: int | None,
        generation_match: int | None,
    ) -> StoredObject:
        """Make an object of another's bytes; None takes all that is known of the other, too.

        Source and target are bucket and name. Raises `PreconditionFailed`, `Missing` also for another generation.
        """
        with self._lock:
            found = self._found(source)
            if source_generation not in (None, found.generation):
                raise Missing
            new = replace(found, bucket=target[0], name=valid_name(target[1]))
            if description is not None:
                new = replace(
                    new,
                    content_type=description.content_type or found.content_type,
                    cache_control=description.cache_control or None,
                    metadata=description.metadata,
                )
            written = self._index.write(new, generation_match=generation_match)
            self._remove_unused()
        return written

    def stat(self, bucket: str, name: str) -> StoredObject:
        """The metadata of an object. Raises `Missing`."""
        with self._lock:
            return self._found((bucket, name))

    def open(self, bucket: str, name: str) -> tuple[StoredObject, BinaryIO]:
        """An object and its bytes, which can be read to the end after a deletion. Raises `Missing`."""
        with self._lock:
            found = self._found((bucket, name))
            return found, self._contents.open(found.content)

    def page(self, bucket: str, *, start: str, after: str, end: str | None, limit: int) -> Sequence[StoredObject]:
        """Objects in the order of their names' bytes: from `start` on, behind `after`, before `end`."""
        with self._lock:
            return self._index.page(bucket, start=start, after=after, end=end, limit=limit)

    def delete(self, bucket: str, name: str, *, generation_match: int | None) -> None:
        """Delete an object. Raises `Missing` or `PreconditionFailed`."""
        with self._lock:
            if not self._index.delete(bucket, valid_name(name), generation_match=generation_match):
                raise Missing
            self._remove_unused()

    def adopt(self, objects: Sequence[tuple[Path, StoredObject]]) -> None:
        """Make objects of files that lie elsewhere on the same file system and stay there; those that exist stay."""
        with self._lock:
            new = [(path, one) for path, one in objects if self._index.find(one.bucket, one.name) is None]
            adopted = [replace(one, content=self._contents.adopt(path)) for path, one in new]
            self._contents.sync_incoming()
            self._index.write_all(adopted)
            for one in adopted:
                self._contents.keep(one.content)

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._index.close()

    def _found(self, named: tuple[str, str]) -> StoredObject:
        bucket, name = named
        found = self._index.find(bucket, valid_name(name))
        if found is None:
            raise Missing
        return found

    def _remove_unused(self) -> None:
        for content in self._index.unused():
            # What cannot be removed now is tried again after the next change.
            with suppress(OSError):
                self._contents.remove(content)
                self._index.forget(content)
