"""Strict HTTP framing: RFC 9112 without the tolerance that makes request smuggling possible.

h11 accepts a bare LF as line end, unfolds lines, prefers Transfer-Encoding over Content-Length, and limits the size of
a head only while it is incomplete. A proxy that parses such bytes differently could take one request for two.
"""

import re

import h11
from h11._receivebuffer import ReceiveBuffer

#: Bytes of a request line with its headers, or of trailers, including the empty line at the end.
MAX_HEAD_BYTES = 64 * 1024
HEADER_LIMIT = 100
_END = b"\r\n\r\n"
_NO_LINE_END = re.compile(rb"(?<!\r)\n|\n[ \t]")
_VERSIONS = (b"1.0", b"1.1")


class StrictConnection(h11.Connection):
    """The server side of a connection; ambiguous input raises `h11.RemoteProtocolError`."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._receive_buffer = _StrictBuffer()

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Returns the next event, NEED_DATA, or PAUSED while the response is not complete."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            _check(event)
        return event


def _check(request: h11.Request) -> None:
    """Rejects an unsupported HTTP version, and a body whose length two headers state."""
    if request.http_version not in _VERSIONS:
        raise h11.RemoteProtocolError("not HTTP/1.0 or HTTP/1.1")
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and (request.http_version == b"1.0" or b"content-length" in names):
        raise h11.RemoteProtocolError("Transfer-Encoding with Content-Length, or in HTTP/1.0")


class _StrictBuffer(ReceiveBuffer):
    """Extracts the lines of a head or of trailers; rejects lines without CRLF, folded lines and too many of them."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        if self._data[: len(b"\r\n")] != b"\r\n":
            # Continues where the last search ended, except for an end marker that was split between two reads.
            start = max(0, self._multiple_lines_search - len(_END))
            end = self._data.find(_END, start)
            size = len(self._data) if end < 0 else end + len(_END)
            if size > MAX_HEAD_BYTES:
                raise h11.RemoteProtocolError("head too large")
            if _NO_LINE_END.search(self._data, start, size):
                raise h11.RemoteProtocolError("a folded line, or a line that does not end with CRLF")
        lines = super().maybe_extract_lines()
        if lines is not None and len(lines) > 1 + HEADER_LIMIT:
            raise h11.RemoteProtocolError("too many headers")
        return lines
