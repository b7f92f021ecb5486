"""How the bytes of an object are served: headers, ranges, conditional requests."""

import base64
import re
from email.utils import formatdate
from typing import BinaryIO
from urllib.parse import quote

from cli.stack.object_store.http import HttpRequest, Response
from cli.stack.object_store.index import StoredObject

#: Content types that a browser may display; it saves all others.
_INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


def object_response(request: HttpRequest, stored: StoredObject, file: BinaryIO, *, is_public: bool) -> Response:
    """The response to a request for an object; the file is closed, or part of the response."""
    headers = _headers(stored, is_public=is_public)
    if _is_known(request.header("if-none-match"), headers["ETag"]):
        file.close()
        return Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    start, end = 0, stored.size
    requested = request.header("range")
    if request.method == "GET" and requested and request.header("if-range") in ("", headers["ETag"]):
        part = _part(requested, stored.size)
        if part is not None and part[0] >= part[1]:
            file.close()
            return Response(status=416, headers={"Content-Range": f"bytes */{stored.size}"})
        if part is not None:
            start, end = part
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    headers["Content-Length"] = str(end - start)
    file.seek(start)
    return Response(status=206 if "Content-Range" in headers else 200, headers=headers, file=file, length=end - start)


def _headers(stored: StoredObject, *, is_public: bool) -> dict[str, str]:
    media_type = stored.content_type.partition(";")[0].strip().lower()
    cache_control = (stored.cache_control or "no-cache") if is_public else "private, no-store"
    return {
        "Content-Type": stored.content_type,
        "Content-Disposition": "inline" if media_type in _INLINE_TYPES else "attachment",
        "Cache-Control": cache_control,
        # Other sites may show a public object, but their scripts cannot read its bytes.
        "Cross-Origin-Resource-Policy": "cross-origin" if is_public else "same-origin",
        "ETag": f'"{base64.b64decode(stored.md5).hex()}"',
        "Last-Modified": formatdate(stored.generation / 1_000_000, usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Goog-Generation": str(stored.generation),
        "X-Goog-Metageneration": "1",
        "X-Goog-Hash": f"crc32c={stored.crc32c},md5={stored.md5}",
        **{f"X-Goog-Meta-{key}": quote(value, safe=_PRINTABLE) for key, value in stored.metadata.items()},
    }


def _is_known(if_none_match: str, etag: str) -> bool:
    known = [entry.strip().removeprefix("W/") for entry in if_none_match.split(",")]
    return etag in known or known == ["*"]


def _part(requested: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a header `Range`; start >= end outside of the object, None for no valid range."""
    match = _RANGE.fullmatch(requested.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    end = min(int(last) + 1, size) if last else size
    return int(first), end
