"""Metadata of all objects, in SQLite: durable, in the byte order of names, changed in transactions.

There is one connection, which no other process shares; the caller lets one thread use it at a time.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS objects (
        bucket TEXT NOT NULL,
        name TEXT NOT NULL,
        generation INTEGER NOT NULL,
        content TEXT NOT NULL,
        size INTEGER NOT NULL,
        md5 TEXT NOT NULL,
        crc32c TEXT NOT NULL,
        content_type TEXT NOT NULL,
        cache_control TEXT,
        metadata TEXT NOT NULL,
        PRIMARY KEY (bucket, name)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS objects_by_content ON objects (content)",
    "CREATE TABLE IF NOT EXISTS unused (content TEXT PRIMARY KEY) WITHOUT ROWID",
    *(
        f"""CREATE TRIGGER IF NOT EXISTS {name} AFTER {change} ON objects
        WHEN NOT EXISTS (SELECT 1 FROM objects WHERE content = old.content)
        BEGIN INSERT OR IGNORE INTO unused VALUES (old.content); END"""  # noqa: S608
        for name, change in (("content_of_deleted", "DELETE"), ("content_of_replaced", "UPDATE OF content"))
    ),
)
_COLUMNS = "bucket, name, generation, content, size, md5, crc32c, content_type, cache_control, metadata"
_WRITE = f"""
INSERT INTO objects ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket, name) DO UPDATE SET generation = excluded.generation, content = excluded.content,
    size = excluded.size, md5 = excluded.md5, crc32c = excluded.crc32c, content_type = excluded.content_type,
    cache_control = excluded.cache_control, metadata = excluded.metadata
"""  # noqa: S608 - names of columns alone
_FIND = f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND name = ?"  # noqa: S608
_LIST = f"""
SELECT {_COLUMNS} FROM objects
WHERE bucket = ? AND name >= ? AND name > ? AND (? IS NULL OR name < ?) ORDER BY name LIMIT ?
"""  # noqa: S608


class PreconditionFailed(Exception):
    """The object does not have the generation that the request names."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object without its bytes."""

    #: Name of its bucket.
    bucket: str
    #: Name in the bucket.
    name: str
    #: Time of its writing in microseconds since the epoch, and larger than all before; 0 until it is written.
    generation: int = 0
    #: Id of the file with its bytes, which objects may share.
    content: str
    #: Bytes.
    size: int
    #: In base64.
    md5: str
    #: In base64.
    crc32c: str
    #: Header `Content-Type` of responses.
    content_type: str
    #: Header `Cache-Control` of responses; None for the default.
    cache_control: str | None
    #: Metadata of the client's choice.
    metadata: Mapping[str, str]


class Index:
    """The objects of all buckets."""

    def __init__(self, file: Path) -> None:
        """Opens or makes the file. Raises `sqlite3.Error`, also when another process has it open."""
        self._db = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._removed: list[tuple[str]] = []
        [self._newest] = self._db.execute("SELECT coalesce(max(generation), 0) FROM objects").fetchone()

    def find(self, bucket: str, name: str) -> StoredObject | None:
        """Returns an object; None when there is none."""
        row = self._db.execute(_FIND, (bucket, name)).fetchone()
        return None if row is None else _object(row)

    def page(self, bucket: str, *, start: str, after: str, end: str | None, limit: int) -> Sequence[StoredObject]:
        """Returns at most `limit` objects in the byte order of names: from `start`, after `after`, before `end`."""
        rows = self._db.execute(_LIST, (bucket, start, after, end, end, limit)).fetchall()
        return [_object(row) for row in rows]

    def write(self, new: StoredObject, *, generation_match: int | None) -> StoredObject:
        """Makes or replaces an object; durable when this returns. Raises `PreconditionFailed`.

        `generation_match` is the generation that the object must have now, 0 for none; None checks nothing.
        """
        with self._transaction():
            self._require(new.bucket, new.name, generation_match)
            return self._write(new)

    def write_all(self, new: Sequence[StoredObject]) -> None:
        """Makes objects, in one transaction."""
        with self._transaction():
            for stored in new:
                self._write(stored)

    def delete(self, bucket: str, name: str, *, generation_match: int | None) -> bool:
        """Deletes an object; returns whether there was one. Raises `PreconditionFailed`."""
        with self._transaction():
            if self.find(bucket, name) is None:
                return False
            self._require(bucket, name, generation_match)
            self._db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
            return True

    def unused(self) -> list[str]:
        """Returns the content ids that no object has any more, until `forget`."""
        return [content for (content,) in self._db.execute("SELECT content FROM unused")]

    def forget(self, content: str) -> None:
        """Notes that a file was removed; written with the next change, since after a crash it may be removed again."""
        self._removed.append((content,))

    def has(self, content: str) -> bool:
        """Whether an object has that content id."""
        return self._db.execute("SELECT 1 FROM objects WHERE content = ?", (content,)).fetchone() is not None

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _require(self, bucket: str, name: str, generation_match: int | None) -> None:
        if generation_match is None:
            return
        current = self.find(bucket, name)
        if (current.generation if current else 0) != generation_match:
            raise PreconditionFailed

    def _write(self, new: StoredObject) -> StoredObject:
        # Never the same generation twice, also when the clock is set back.
        self._newest = max(self._newest + 1, time.time_ns() // 1000)
        written = replace(new, generation=self._newest)
        self._db.execute(_WRITE, _row(written))
        return written

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("DELETE FROM unused WHERE content = ?", self._removed)
            yield
            self._db.execute("COMMIT")
            self._removed.clear()
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _object(row: Sequence[object]) -> StoredObject:
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    fields["metadata"] = json.loads(str(fields["metadata"]))
    return StoredObject(**fields)  # type: ignore[arg-type]


def _row(stored: StoredObject) -> tuple[object, ...]:
    values = [getattr(stored, column) for column in _COLUMNS.split(", ")]
    return (*values[:-1], json.dumps(stored.metadata, ensure_ascii=False))
