"""Imports the objects of a data folder of fake-gcs-server: a folder per bucket, with a file per object at its name.

The metadata is in an extended attribute, or in a file beside the object where the file system has no attributes. A file
is removed after its object was imported; after a crash in between it is imported again, and the first import stays.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cli.stack.object_store import names
from cli.stack.object_store.content import Digests
from cli.stack.object_store.index import StoredObject
from cli.stack.object_store.store import Store

_ATTRIBUTE, _BESIDE, _OF_BUCKET = "user.metadata", ".metadata", ".bucketMetadata"
#: Objects that are imported in one transaction.
_BATCH = 500
#: Content types by suffix, for files without metadata, as on systems whose extended attributes Python does not read.
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


def import_objects(store: Store, folder: Path, buckets: Collection[str]) -> int:
    """Imports all objects of these buckets; returns their number. Raises `OSError`."""
    count = 0
    for bucket in buckets:
        source = folder / bucket
        if source.is_symlink() or not source.is_dir():
            continue
        files = _files(source)
        while batch := list(islice(files, _BATCH)):
            store.adopt([(file, _object(bucket, source, file)) for file in batch if _has_name(source, file)])
            for file in batch:
                file.unlink()
                file.with_name(file.name + _BESIDE).unlink(missing_ok=True)
            count += len(batch)
        shutil.rmtree(source)
        (folder / f"{bucket}{_OF_BUCKET}").unlink(missing_ok=True)
    return count


def _files(source: Path) -> Iterator[Path]:
    """Yields files with the bytes of objects; links are ignored."""
    for above, _, files in os.walk(source):
        for name in files:
            file = Path(above) / name
            if file.is_file() and not file.is_symlink() and not name.endswith(_BESIDE):
                yield file


def _has_name(source: Path, file: Path) -> bool:
    try:
        names.valid_name(_name(source, file))
    except names.InvalidName:
        return False
    return True


def _name(source: Path, file: Path) -> str:
    return file.relative_to(source).as_posix()


def _object(bucket: str, source: Path, file: Path) -> StoredObject:
    attributes = _attributes(file)
    md5, crc32c = attributes.get("Md5Hash"), attributes.get("Crc32c")
    if not md5 or not crc32c:
        md5, crc32c = _digests(file)
    return StoredObject(
        bucket=bucket,
        name=_name(source, file),
        content="",
        size=file.stat().st_size,
        md5=md5,
        crc32c=crc32c,
        content_type=attributes.get("ContentType") or _TYPES.get(file.suffix[1:], "application/octet-stream"),
        cache_control=attributes.get("CacheControl") or None,
        metadata=attributes.get("Metadata") or {},
    )


def _attributes(file: Path) -> dict[str, Any]:
    """The metadata of a file; empty when it has none."""
    beside = file.with_name(file.name + _BESIDE)
    try:
        text = beside.read_bytes() if beside.exists() else os.getxattr(file, _ATTRIBUTE)
        attributes = json.loads(text)
    except (OSError, ValueError, AttributeError):
        # Python has no os.getxattr on every system.
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _digests(file: Path) -> tuple[str, str]:
    digests = Digests()
    with file.open("rb") as opened:
        while chunk := opened.read(1024 * 1024):
            digests.update(chunk)
    return digests.md5, digests.crc32c
