"""Files of `static/`, read once at the start, with the headers by which browsers cache them.

Pages are HTML files that browsers revalidate before each use. They refer to all other files, the assets, below
`/assets/VERSION/`, where the version is a digest of all files, so browsers keep an asset forever. A gateway serves its
files below any version: during a rolling upgrade a page of one version may get its assets from a gateway of another.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
#: Content type by the suffix of a file; files with other suffixes are not served.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
PAGE_CACHE = "no-cache"
#: For an asset below the version of this gateway.
ASSET_CACHE = "public, max-age=31536000, immutable"
#: For an asset below another version: it may differ from the one that the page means.
OTHER_VERSION_CACHE = "no-store"
#: The place of the version in the HTML files.
_VERSION = "VERSION"
_VERSION_FORMAT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    """A file as it is sent."""

    #: Uncompressed content.
    body: bytes
    #: Content compressed with gzip.
    compressed: bytes
    #: Value of Content-Type.
    content_type: str
    #: SHA-256 of the content, 64 hexadecimal digits.
    digest: str

    def etag(self, *, is_compressed: bool) -> str:
        """Returns the entity tag, which differs between the two encodings."""
        return f'"{self.digest[:32]}{"-gzip" if is_compressed else ""}"'


class StaticFiles:
    """The files of a folder by their path in it; nothing else can be requested."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Reads all files of the folder. Raises `OSError` if one cannot be read."""
        contents = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in CONTENT_TYPES and path.is_file()
        }
        #: 16 hexadecimal digits, the same wherever the files are the same.
        self.version = _version_of(contents)
        self._files = {path: _static_file(path, body, self.version) for path, body in contents.items()}

    def page(self, path: str) -> StaticFile:
        """Returns an HTML file. Raises `KeyError` if there is no such file."""
        return self._files[path]

    def asset(self, version: str, path: str) -> tuple[StaticFile, str] | None:
        """Returns an asset and its Cache-Control, or None if there is no such asset or `version` is not valid."""
        if not _VERSION_FORMAT.fullmatch(version) or path.endswith(".html") or path not in self._files:
            return None
        return self._files[path], ASSET_CACHE if version == self.version else OTHER_VERSION_CACHE


@cache
def own_files() -> StaticFiles:
    """Returns the files of the gateway, which are read once in a process."""
    return StaticFiles()


def _version_of(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, body in contents.items():
        digest.update(f"{path}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()[:16]


def _static_file(path: str, content: bytes, version: str) -> StaticFile:
    is_page = path.endswith(".html")
    body = content.replace(f"/assets/{_VERSION}/".encode(), f"/assets/{version}/".encode()) if is_page else content
    return StaticFile(
        body=body,
        compressed=gzip.compress(body, mtime=0),
        content_type=CONTENT_TYPES[Path(path).suffix],
        digest=hashlib.sha256(body).hexdigest(),
    )
