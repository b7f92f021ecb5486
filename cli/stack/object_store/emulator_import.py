"""Imports the objects of a data folder that fake-gcs-server wrote: files by name below a folder per bucket.

Its metadata is in an extended attribute, or in a file beside the object where the file system has no attributes. A file
is removed after its object was imported; after a crash in between it is found again, and the imported object stays.
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
_AT_ONCE = 500
#: Where nothing else says it, as on systems whose extended attributes Python does not read.
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


def import_objects(store: Store, folder: Path, buckets: Collection[str]) -> int:
    """Import all objects of these buckets; returns how many there were. Raises `OSError`."""
    count = 0
    for bucket in buckets:
        left = folder / bucket
        if left.is_symlink() or not left.is_dir():
            continue
        found = _files(left)
        while chosen := list(islice(found, _AT_ONCE)):
            store.adopt([(file, _object(bucket, left, file)) for file in chosen if _has_name(left, file)])
            for file in chosen:
                file.unlink()
                file.with_name(file.name + _BESIDE).unlink(missing_ok=True)
            count += len(chosen)
        shutil.rmtree(left)
        (folder / f"{bucket}{_OF_BUCKET}").unlink(missing_ok=True)
    return count


def _files(left: Path) -> Iterator[Path]:
    """Files with the bytes of objects; links are none."""
    for above, _, files in os.walk(left):
        for name in files:
            file = Path(above) / name
            if file.is_file() and not file.is_symlink() and not name.endswith(_BESIDE):
                yield file


def _has_name(left: Path, file: Path) -> bool:
    try:
        names.valid_name(_name(left, file))
    except names.InvalidName:
        return False
    return True


def _name(left: Path, file: Path) -> str:
    return file.relative_to(left).as_posix()


def _object(bucket: str, left: Path, file: Path) -> StoredObject:
    attributes = _attributes(file)
    md5, crc32c = attributes.get("Md5Hash"), attributes.get("Crc32c")
    if not md5 or not crc32c:
        md5, crc32c = _digests(file)
    return StoredObject(
        bucket=bucket,
        name=_name(left, file),
        content="",
        size=file.stat().st_size,
        md5=md5,
        crc32c=crc32c,
        content_type=attributes.get("ContentType") or _TYPES.get(file.suffix[1:], "application/octet-stream"),
        cache_control=attributes.get("CacheControl") or None,
        metadata=attributes.get("Metadata") or {},
    )


def _attributes(file: Path) -> dict[str, Any]:
    """The metadata that the emulator wrote; empty when there is none."""
    beside = file.with_name(file.name + _BESIDE)
    try:
        text = beside.read_bytes() if beside.exists() else os.getxattr(file, _ATTRIBUTE)
        found = json.loads(text)
    except (OSError, ValueError, AttributeError):
        # Not every system's Python reads such attributes.
        return {}
    return found if isinstance(found, dict) else {}


def _digests(file: Path) -> tuple[str, str]:
    digests = Digests()
    with file.open("rb") as opened:
        while piece := opened.read(1024 * 1024):
            digests.update(piece)
    return digests.md5, digests.crc32c
