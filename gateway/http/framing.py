"""Where a request begins and ends on the wire: RFC 9112 without the leniences that let two readers disagree.

h11 takes bare LF for a line end, unfolds lines, lets Transfer-Encoding win over Content-Length and bounds a head only
while it is incomplete. A proxy in front that reads such bytes otherwise would take one request for two.
"""

import re

import h11
from h11._receivebuffer import ReceiveBuffer

#: Bytes of a request line and its headers, or of trailers, with the empty line behind them.
LARGEST_HEAD = 64 * 1024
MOST_HEADERS = 100
_END = b"\r\n\r\n"
_NO_LINE_END = re.compile(rb"(?<!\r)\n|\n[ \t]")
_VERSIONS = (b"1.0", b"1.1")


class StrictConnection(h11.Connection):
    """The server's side of a connection; what is ambiguous raises `h11.RemoteProtocolError`."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._receive_buffer = _StrictLines()

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event, or that more bytes are needed, or that the answer has to end first."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            _check(event)
        return event


def _check(request: h11.Request) -> None:
    """Refuse a version that is not spoken here, and a body whose length is told in two ways."""
    if request.http_version not in _VERSIONS:
        raise h11.RemoteProtocolError("not HTTP/1.0 or HTTP/1.1")
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and (request.http_version == b"1.0" or b"content-length" in names):
        raise h11.RemoteProtocolError("Transfer-Encoding with Content-Length, or in HTTP/1.0")


class _StrictLines(ReceiveBuffer):
    """Gives the lines of a head or of trailers, each ended by CRLF and none folded, and so many of them at most."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        if self._data[: len(b"\r\n")] != b"\r\n":
            # What was looked at before is not looked at again, but for an end that may have been cut.
            start = max(0, self._multiple_lines_search - len(_END))
            end = self._data.find(_END, start)
            size = len(self._data) if end < 0 else end + len(_END)
            if size > LARGEST_HEAD:
                raise h11.RemoteProtocolError("head too large")
            if _NO_LINE_END.search(self._data, start, size):
                raise h11.RemoteProtocolError("a line that is folded, or not ended by CRLF")
        lines = super().maybe_extract_lines()
        if lines is not None and len(lines) > 1 + MOST_HEADERS:
            raise h11.RemoteProtocolError("too many headers")
        return lines
