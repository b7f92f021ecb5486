"""Files with the bytes of objects, under random names."""

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import google_crc32c

_FOLDERS = [f"{number:02x}" for number in range(256)]


class Digests:
    """MD5 and CRC32C of bytes that come in pieces, in base64."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c = google_crc32c.Checksum()

    def update(self, data: bytes) -> None:
        """The next bytes."""
        self._md5.update(data)
        self._crc32c.update(data)

    @property
    def md5(self) -> str:
        """MD5 of all so far."""
        return base64.b64encode(self._md5.digest()).decode()

    @property
    def crc32c(self) -> str:
        """CRC32C of all so far."""
        return base64.b64encode(self._crc32c.digest()).decode()


class Incoming:
    """A file that is being written, and the digests of what it has so far."""

    def __init__(self, path: Path) -> None:
        self.content = path.name
        self.path = path
        self.size = 0
        self._lock = threading.Lock()
        self.digests = Digests()
        self._file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Append. Raises `ValueError` when it was discarded meanwhile."""
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        self.digests.update(data)
        self.size += len(data)

    def sync(self) -> None:
        """Bring it to disk, its entry in the folder too."""
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove it, once a thread that writes has done so."""
        with self._lock:
            self._file.close()
        self.path.unlink(missing_ok=True)


class Contents:
    """Files below a folder: `incoming` until an object has them, then `contents`."""

    def __init__(self, folder: Path) -> None:
        self._incoming, self._kept = folder / "incoming", folder / "contents"
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        self._kept.mkdir(mode=0o700, exist_ok=True)
        for name in _FOLDERS:
            (self._kept / name).mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._kept)
        sync_folder(folder)

    def begin(self) -> Incoming:
        """A new file."""
        return Incoming(self._incoming / uuid4().hex)

    def adopt(self, file: Path) -> str:
        """Take a file that lies elsewhere on the same file system; it stays there, too. Returns its name here."""
        content = uuid4().hex
        os.link(file, self._incoming / content)
        return content

    def keep(self, content: str) -> None:
        """An object has it now."""
        (self._incoming / content).rename(self._path(content))

    def open(self, content: str) -> BinaryIO:
        """Read one that is kept."""
        return self._path(content).open("rb")

    def remove(self, content: str) -> None:
        """No object has it any more."""
        self._path(content).unlink(missing_ok=True)

    def incoming(self) -> Iterator[str]:
        """Files that an earlier process left there."""
        return (path.name for path in list(self._incoming.iterdir()))

    def discard(self, content: str) -> None:
        """Remove what was never finished."""
        with suppress(FileNotFoundError):
            (self._incoming / content).unlink()

    def sync_incoming(self) -> None:
        """Bring the entries of what was adopted to disk."""
        sync_folder(self._incoming)

    def _path(self, content: str) -> Path:
        return self._kept / content[:2] / content


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
