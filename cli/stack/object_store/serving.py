"""How the bytes of an object are served: headers, ranges, conditional requests."""

import base64
import re
from email.utils import formatdate
from typing import BinaryIO
from urllib.parse import quote

from cli.stack.object_store.http import HttpRequest, Response
from cli.stack.object_store.index import StoredObject

#: What a browser may show in a page's place; it saves everything else.
_SHOWN = frozenset({"image/png", "image/jpeg", "image/webp"})
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


def object_response(request: HttpRequest, found: StoredObject, file: BinaryIO, *, is_public: bool) -> Response:
    """The answer to a request for an object; it closes the file, or has it."""
    headers = _headers(found, is_public=is_public)
    if _is_known(request.header("if-none-match"), headers["ETag"]):
        file.close()
        return Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    start, end = 0, found.size
    asked = request.header("range")
    if request.method == "GET" and asked and request.header("if-range") in ("", headers["ETag"]):
        part = _part(asked, found.size)
        if part is not None and part[0] >= part[1]:
            file.close()
            return Response(status=416, headers={"Content-Range": f"bytes */{found.size}"})
        if part is not None:
            start, end = part
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    headers["Content-Length"] = str(end - start)
    file.seek(start)
    return Response(status=206 if "Content-Range" in headers else 200, headers=headers, file=file, length=end - start)


def _headers(found: StoredObject, *, is_public: bool) -> dict[str, str]:
    plain = found.content_type.partition(";")[0].strip().lower()
    cached = (found.cache_control or "no-cache") if is_public else "private, no-store"
    return {
        "Content-Type": found.content_type,
        "Content-Disposition": "inline" if plain in _SHOWN else "attachment",
        "Cache-Control": cached,
        # Pages elsewhere may show what anybody may read; nothing lets them read its bytes.
        "Cross-Origin-Resource-Policy": "cross-origin" if is_public else "same-origin",
        "ETag": f'"{base64.b64decode(found.md5).hex()}"',
        "Last-Modified": formatdate(found.generation / 1_000_000, usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Goog-Generation": str(found.generation),
        "X-Goog-Metageneration": "1",
        "X-Goog-Hash": f"crc32c={found.crc32c},md5={found.md5}",
        **{f"X-Goog-Meta-{key}": quote(value, safe=_PRINTABLE) for key, value in found.metadata.items()},
    }


def _is_known(if_none_match: str, etag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return etag in known or known == ["*"]


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """From where to where, the end not included; an empty part for one that is not there, None for what is no range."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    end = min(int(last) + 1, size) if last else size
    return int(first), end
