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

#: Chunks are collected up to so many bytes before they are written.
WRITE_BYTES = 256 * 1024
#: Largest name or value of a part's headers in bytes.
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
                    "on_header_field": self._append_header,
                    "on_header_value": self._append_value,
                    "on_header_end": self._end_header,
                    "on_part_data": self._append_data,
                    "on_end": self._end,
                },
            )
        except (MultipartParseError, ValueError):
            raise ApiError(400, "The boundary is not valid.") from None

    def feed(self, chunk: bytes) -> bytes:
        """Parses a chunk of the body; returns the bytes of the object in it."""
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise ApiError(400, "The parts of the body cannot be read.") from None
        if len(self._json) > LARGEST_JSON or self._parts > 2:
            raise ApiError(400, "The body must have two parts: a description and bytes.")
        media, self._media = self._media, []
        return b"".join(media)

    def description(self) -> Description:
        """Returns the description in the first part, after the whole body was fed. Raises `ApiError`."""
        if not self._has_ended or self._parts != 2:
            raise ApiError(400, "The body is not complete, or does not have two parts.")
        return parse_description({"contentType": self._content_type.decode("latin-1")} | parsed(bytes(self._json)))

    def _begin(self) -> None:
        self._parts += 1

    def _append_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        if len(self._header) > LARGEST_HEADER:
            raise ApiError(400, "A header of a part is too long.")

    def _append_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > LARGEST_HEADER:
            raise ApiError(400, "A header of a part is too long.")

    def _end_header(self) -> None:
        if self._header.lower() == b"content-type":
            # The last such header is that of the bytes.
            self._content_type = self._value.strip()
        self._header, self._value = b"", b""

    def _append_data(self, data: bytes, start: int, end: int) -> None:
        if self._parts == 1:
            self._json += data[start:end]
        else:
            self._media.append(data[start:end])

    def _end(self) -> None:
        self._has_ended = True


def make_upload_id(description: Mapping[str, Any], *, generation_match: int | None) -> str:
    """Makes the id of a resumable upload: the whole description, encoded; the client sends it with the bytes.

    The server stores nothing of it. The request with the bytes needs a credential, too, and is checked again.
    """
    content = {"object": description, "generation_match": generation_match}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def read_upload_id(upload_id: str) -> tuple[Description, int | None]:
    """Reads an id of `make_upload_id`: description and required generation. Raises `ApiError`."""
    try:
        content = parsed(base64.b64decode(upload_id, altchars=b"-_", validate=True))
        fields, match = content["object"], content["generation_match"]
        if not isinstance(fields, dict) or not (match is None or isinstance(match, int)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise ApiError(400, "The upload_id is not of this server.") from None
    return parse_description(fields), match


def content_range_size(content_range: str) -> int | None:
    """The size in a header `Content-Range`, which must cover the whole object; None without one. Raises `ApiError`."""
    if not content_range:
        return None
    match = _WHOLE.fullmatch(content_range)
    if match is None:
        raise ApiError(400, "An upload must be sent in one request.")
    size = int(match[2] or 0)
    if match[1] and int(match[1]) + 1 != size:
        raise ApiError(400, "An upload must be sent in one request.")
    return size


def parse_hashes(header: str) -> dict[str, str]:
    """Digests of a header `X-Goog-Hash`, by kind."""
    pairs = (part.strip().partition("=") for part in header.split(",") if part.strip())
    return {kind: text for kind, _, text in pairs if kind in DIGESTS}


async def object_chunks(request: HttpRequest, parts: Multipart | None) -> AsyncIterator[bytes]:
    """Yields the object's bytes in a request's body, in chunks of at least `WRITE_BYTES` except the last."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in request.chunks():
        media = chunk if parts is None else parts.feed(chunk)
        waiting.append(media)
        size += len(media)
        if size >= WRITE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
