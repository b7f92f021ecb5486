"""Files with the bytes of objects; a file has a random name, its content id."""

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
    """MD5 and CRC32C of bytes that arrive in chunks, in base64."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c = google_crc32c.Checksum()

    def update(self, data: bytes) -> None:
        """Adds the next bytes."""
        self._md5.update(data)
        self._crc32c.update(data)

    @property
    def md5(self) -> str:
        """MD5 of all bytes so far."""
        return base64.b64encode(self._md5.digest()).decode()

    @property
    def crc32c(self) -> str:
        """CRC32C of all bytes so far."""
        return base64.b64encode(self._crc32c.digest()).decode()


class Incoming:
    """A file that is being written, and the digests of its bytes so far."""

    def __init__(self, path: Path) -> None:
        #: Content id.
        self.content = path.name
        #: The file, in the folder `incoming`.
        self.path = path
        #: Bytes so far.
        self.size = 0
        #: Digests of the bytes so far.
        self.digests = Digests()
        self._lock = threading.Lock()
        self._file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Appends bytes. Raises `ValueError` when the file was discarded meanwhile."""
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        self.digests.update(data)
        self.size += len(data)

    def sync(self) -> None:
        """Brings the file and its entry in the folder to disk."""
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Removes the file, after a thread that writes it has finished."""
        with self._lock:
            self._file.close()
        self.path.unlink(missing_ok=True)


class Contents:
    """All files: in the folder `incoming` until an object has them, then in `contents`."""

    def __init__(self, folder: Path) -> None:
        self._incoming, self._contents = folder / "incoming", folder / "contents"
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        self._contents.mkdir(mode=0o700, exist_ok=True)
        for name in _FOLDERS:
            (self._contents / name).mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._contents)
        sync_folder(folder)

    def begin(self) -> Incoming:
        """Begins a new file."""
        return Incoming(self._incoming / uuid4().hex)

    def adopt(self, file: Path) -> str:
        """Links a file of the same file system, which also stays where it is; returns its content id."""
        content = uuid4().hex
        os.link(file, self._incoming / content)
        return content

    def commit(self, content: str) -> None:
        """Moves a file from `incoming` to `contents`, since an object has it now."""
        (self._incoming / content).rename(self._path(content))

    def open(self, content: str) -> BinaryIO:
        """Opens a file that an object has."""
        return self._path(content).open("rb")

    def remove(self, content: str) -> None:
        """Removes a file that no object has any more."""
        self._path(content).unlink(missing_ok=True)

    def incoming(self) -> Iterator[str]:
        """Content ids of the files that an earlier process left in `incoming`."""
        return (path.name for path in list(self._incoming.iterdir()))

    def discard(self, content: str) -> None:
        """Removes a file that was never finished."""
        with suppress(FileNotFoundError):
            (self._incoming / content).unlink()

    def sync_incoming(self) -> None:
        """Brings the entries of adopted files to disk."""
        sync_folder(self._incoming)

    def _path(self, content: str) -> Path:
        return self._contents / content[:2] / content


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
