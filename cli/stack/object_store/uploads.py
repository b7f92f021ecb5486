"""Bodies of uploads, in the three forms of the API: the bytes alone, after their description, or in a later request."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from cli.stack.object_store.description import DIGESTS, Description, described
from cli.stack.object_store.http import LARGEST_JSON, Refused, Request, parsed

#: Fewer of them are not worth a write of their own.
WRITE_BYTES = 256 * 1024
_WHOLE = re.compile(r"bytes (?:0-(\d{1,12})/(\d{1,12})|\*/0)")


class Multipart:
    """A body of `multipart/related`: a description in JSON, then bytes. Raises `Refused` for any other."""

    def __init__(self, content_type: str) -> None:
        header = Message()
        header["Content-Type"] = content_type
        boundary = header.get_param("boundary")
        if header.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
            raise Refused(400, "The body is not multipart/related.")
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
            raise Refused(400, "The boundary is not valid.") from None

    def feed(self, piece: bytes) -> bytes:
        """The bytes of the object that a piece of the body has."""
        try:
            self._parser.write(piece)
        except MultipartParseError:
            raise Refused(400, "The parts of the body cannot be read.") from None
        if len(self._json) > LARGEST_JSON or self._parts > 2:
            raise Refused(400, "The body has other parts than a description and bytes.")
        media, self._media = self._media, []
        return b"".join(media)

    def description(self) -> Description:
        """What the first part said, once all of the body is there."""
        if not self._has_ended or self._parts != 2:
            raise Refused(400, "The body has no end, or not two parts.")
        return described({"contentType": self._content_type.decode("latin-1")} | parsed(bytes(self._json)))

    def _begin(self) -> None:
        self._parts += 1

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-type":
            # In the end that of the bytes.
            self._content_type = self._value.strip()
        self._header, self._value = b"", b""

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._parts == 1:
            self._json += data[start:end]
        else:
            self._media.append(data[start:end])

    def _end(self) -> None:
        self._has_ended = True


def ticket_of(given: Mapping[str, Any], *, generation_match: int | None) -> str:
    """What a client brings along with the bytes of a resumable upload: all that is known of it.

    Nothing is kept of it here. Who brings it shows a credential, too, and whatever it says is checked as at first.
    """
    content = {"object": given, "generation_match": generation_match}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def read_ticket(ticket: str) -> tuple[Description, int | None]:
    """What `ticket_of` wrote. Raises `Refused`."""
    try:
        content = parsed(base64.b64decode(ticket, altchars=b"-_", validate=True))
        given, match = content["object"], content["generation_match"]
        if not isinstance(given, dict) or not (match is None or isinstance(match, int)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "This is not an upload that was begun here.") from None
    return described(given), match


def whole_size(content_range: str) -> int | None:
    """How many bytes a request says that it brings, which must be all; None when it says nothing. Raises `Refused`."""
    if not content_range:
        return None
    found = _WHOLE.fullmatch(content_range)
    if found is None:
        raise Refused(400, "An upload comes in one piece here.")
    size = int(found[2] or 0)
    if found[1] and int(found[1]) + 1 != size:
        raise Refused(400, "An upload comes in one piece here.")
    return size


def hashes(header: str) -> dict[str, str]:
    """Digests that a header `X-Goog-Hash` names, by their kind."""
    pairs = (part.strip().partition("=") for part in header.split(",") if part.strip())
    return {kind: text for kind, _, text in pairs if kind in DIGESTS}


async def pieces(request: Request, parts: Multipart | None) -> AsyncIterator[bytes]:
    """The bytes of the object that a request brings, in pieces that are worth a write."""
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
