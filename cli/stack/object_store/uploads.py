"""Bodies of uploads, in the three forms of the API: media, multipart, resumable."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from cli.stack.object_store.description import DIGESTS, Description, parse_description
from cli.stack.object_store.http import LARGEST_JSON, ApiError, HttpRequest, parsed

#: Smaller chunks are collected before they are written.
WRITE_BYTES = 256 * 1024
LARGEST_HEADER = 1024
_WHOLE = re.compile(r"bytes (?:0-(\d{1,12})/(\d{1,12})|\*/0)")


class Multipart:
    """A body of `multipart/related`: a description in JSON, then bytes. Raises `ApiError` for any other."""

    def __init__(self, content_type: str) -> None:
        header = Message()
        header["Content-Type"] = content_type
        boundary = header.get_param("boundary")
        if header.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
            raise ApiError(400, "The body is not multipart/related.")
        self._json = bytearray()
        self._media: list[bytes] = []
        self._parts = 0
        self._header, self._value, self._content_type = b"", b"", b""
        self._has_ended = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"),
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._take_header,
                    "on_header_value": self._take_value,
                    "on_header_end": self._end_header,
                    "on_part_data": self._take,
                    "on_end": self._end,
                },
            )
        except (MultipartParseError, ValueError):
            raise ApiError(400, "The boundary is not valid.") from None

    def feed(self, piece: bytes) -> bytes:
        """The bytes of the object in a chunk of the body."""
        try:
            self._parser.write(piece)
        except MultipartParseError:
            raise ApiError(400, "The parts of the body cannot be read.") from None
        if len(self._json) > LARGEST_JSON or self._parts > 2:
            raise ApiError(400, "The body has other parts than a description and bytes.")
        media, self._media = self._media, []
        return b"".join(media)

    def description(self) -> Description:
        """The description in the first part, after the whole body was fed."""
        if not self._has_ended or self._parts != 2:
            raise ApiError(400, "The body has no end, or not two parts.")
        return parse_description({"contentType": self._content_type.decode("latin-1")} | parsed(bytes(self._json)))

    def _begin(self) -> None:
        self._parts += 1

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        if len(self._header) > LARGEST_HEADER:
            raise ApiError(400, "A header of a part is too long.")

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > LARGEST_HEADER:
            raise ApiError(400, "A header of a part is too long.")

    def _end_header(self) -> None:
        if self._header.lower() == b"content-type":
            # The last one is that of the bytes.
            self._content_type = self._value.strip()
        self._header, self._value = b"", b""

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._parts == 1:
            self._json += data[start:end]
        else:
            self._media.append(data[start:end])

    def _end(self) -> None:
        self._has_ended = True


def make_upload_id(given: Mapping[str, Any], *, generation_match: int | None) -> str:
    """The id of a resumable upload, which the client sends with the bytes: the whole description, encoded.

    The server keeps nothing of it. The request with the bytes needs a credential, too, and all of it is checked again.
    """
    content = {"object": given, "generation_match": generation_match}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def read_upload_id(upload_id: str) -> tuple[Description, int | None]:
    """What `make_upload_id` wrote. Raises `ApiError`."""
    try:
        content = parsed(base64.b64decode(upload_id, altchars=b"-_", validate=True))
        given, match = content["object"], content["generation_match"]
        if not isinstance(given, dict) or not (match is None or isinstance(match, int)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise ApiError(400, "This is not an upload that was begun here.") from None
    return parse_description(given), match


def content_range_size(content_range: str) -> int | None:
    """Size by a header `Content-Range`, which must cover the whole object; None without one. Raises `ApiError`."""
    if not content_range:
        return None
    found = _WHOLE.fullmatch(content_range)
    if found is None:
        raise ApiError(400, "An upload comes in one piece here.")
    size = int(found[2] or 0)
    if found[1] and int(found[1]) + 1 != size:
        raise ApiError(400, "An upload comes in one piece here.")
    return size


def parse_hashes(header: str) -> dict[str, str]:
    """Digests of a header `X-Goog-Hash`, by kind."""
    pairs = (part.strip().partition("=") for part in header.split(",") if part.strip())
    return {kind: text for kind, _, text in pairs if kind in DIGESTS}


async def object_chunks(request: HttpRequest, parts: Multipart | None) -> AsyncIterator[bytes]:
    """The bytes of the object in a request's body, in chunks of at least `WRITE_BYTES` but for the last."""
    waiting: list[bytes] = []
    size = 0
    async for piece in request.chunks():
        media = piece if parts is None else parts.feed(piece)
        waiting.append(media)
        size += len(media)
        if size >= WRITE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
