"""Objects and their bytes, consistent after any crash: a confirmed write is there, an interrupted write is not.

The bytes are brought to disk first, then the row that makes an object of them. At the next start after a crash in
between, a file without a row is removed, and a file with a row that was not moved to `contents` yet is moved.
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
    """The object does not exist."""


class Store:
    """All buckets, in one folder. Any thread may use it.

    Each method that gets a name raises `InvalidName`; each raises `OSError` or `sqlite3.Error`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        # First: it fails when another process has the folder.
        self._index = Index(folder / "index.db")
        self._contents = Contents(folder)
        for content in self._contents.incoming():
            if self._index.has(content):
                self._contents.commit(content)
            else:
                self._contents.discard(content)
        self._remove_unused()

    def begin(self) -> Incoming:
        """Begins a file for an upload; the caller passes it to `put` or discards it."""
        return self._contents.begin()

    def put(
        self, incoming: Incoming, bucket: str, description: Description, *, generation_match: int | None
    ) -> StoredObject:
        """Makes an object of an uploaded file, which is discarded on failure. Raises `PreconditionFailed`.

        `generation_match` is the generation that the object must have now, 0 for none; None checks nothing.
        """
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
            self._contents.commit(incoming.content)
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
        """Makes an object of another object's bytes; without a description also of the other's metadata.

        Source and target are bucket and name. Raises `PreconditionFailed`, and `Missing`, also when the source does not
        have the generation `source_generation`.
        """
        with self._lock:
            original = self._find(source)
            if source_generation not in (None, original.generation):
                raise Missing
            new = replace(original, bucket=target[0], name=valid_name(target[1]))
            if description is not None:
                new = replace(
                    new,
                    content_type=description.content_type or original.content_type,
                    cache_control=description.cache_control or None,
                    metadata=description.metadata,
                )
            written = self._index.write(new, generation_match=generation_match)
            self._remove_unused()
        return written

    def stat(self, bucket: str, name: str) -> StoredObject:
        """Returns an object without its bytes. Raises `Missing`."""
        with self._lock:
            return self._find((bucket, name))

    def open(self, bucket: str, name: str) -> tuple[StoredObject, BinaryIO]:
        """Returns an object and its bytes, which stay readable after a deletion. Raises `Missing`."""
        with self._lock:
            stored = self._find((bucket, name))
            return stored, self._contents.open(stored.content)

    def page(self, bucket: str, *, start: str, after: str, end: str | None, limit: int) -> Sequence[StoredObject]:
        """Returns at most `limit` objects in the byte order of names: from `start`, after `after`, before `end`."""
        with self._lock:
            return self._index.page(bucket, start=start, after=after, end=end, limit=limit)

    def delete(self, bucket: str, name: str, *, generation_match: int | None) -> None:
        """Deletes an object. Raises `Missing` or `PreconditionFailed`."""
        with self._lock:
            if not self._index.delete(bucket, valid_name(name), generation_match=generation_match):
                raise Missing
            self._remove_unused()

    def adopt(self, objects: Sequence[tuple[Path, StoredObject]]) -> None:
        """Makes objects of files of the same file system, which also stay where they are; existing objects stay."""
        with self._lock:
            new = [(path, stored) for path, stored in objects if self._index.find(stored.bucket, stored.name) is None]
            adopted = [replace(stored, content=self._contents.adopt(path)) for path, stored in new]
            self._contents.sync_incoming()
            self._index.write_all(adopted)
            for stored in adopted:
                self._contents.commit(stored.content)

    def close(self) -> None:
        """Closes the index."""
        with self._lock:
            self._index.close()

    def _find(self, bucket_and_name: tuple[str, str]) -> StoredObject:
        bucket, name = bucket_and_name
        stored = self._index.find(bucket, valid_name(name))
        if stored is None:
            raise Missing
        return stored

    def _remove_unused(self) -> None:
        for content in self._index.unused():
            # A file that cannot be removed now is tried again after the next change.
            with suppress(OSError):
                self._contents.remove(content)
                self._index.forget(content)
