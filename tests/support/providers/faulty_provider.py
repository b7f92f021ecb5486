"""A provider's server that sends scripted responses, byte for byte, framing included."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from tests.support.servers.tcp_servers import tcp_server


class Framing(Enum):
    """How the end of a body is marked."""

    LENGTH = auto()
    CHUNKED = auto()
    #: All of the body in one chunk, and the connection closed before the last, empty one.
    CHUNKED_CUT = auto()
    CLOSED = auto()
    #: A length that is longer than the body.
    SHORT = auto()
    #: The request is read, and the connection closed.
    SILENT = auto()


@dataclass(frozen=True, kw_only=True)
class RawResponse:
    """A response; header names and values are bytes, sent unchanged."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    framing: Framing = Framing.LENGTH

    @property
    def is_json(self) -> bool:
        """Whether the body can be read as JSON."""
        try:
            json.loads(self.body)
        except ValueError:
            return False
        return True

    def with_json(self, value: Any) -> "RawResponse":
        """Returns the response with another JSON body."""
        return replace(self, body=json.dumps(value).encode())

    def with_header(self, name: str, value: bytes) -> "RawResponse":
        """The same with a header more, in place of one of that name."""
        kept = tuple(header for header in self.headers if header[0].lower() != name.lower().encode())
        return replace(self, headers=(*kept, (name.encode(), value)))

    @property
    def plain(self) -> bytes:
        """The body as a careful reader has it; nothing of what cannot be unpacked."""
        try:
            return gzip.decompress(self.body) if self.body.startswith(b"\x1f\x8b") else self.body
        except (OSError, EOFError, zlib.error):
            return b""

    def on_the_wire(self) -> bytes:
        """Head and body."""
        headers = [*self.headers, (b"Connection", b"close")]
        body = self.body
        match self.framing:
            case Framing.LENGTH | Framing.SHORT:
                more = 100 * (self.framing is Framing.SHORT)
                headers.append((b"Content-Length", str(len(body) + more).encode()))
            case Framing.CHUNKED | Framing.CHUNKED_CUT:
                headers.append((b"Transfer-Encoding", b"chunked"))
                chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
                body = chunk + (b"0\r\n\r\n" if self.framing is Framing.CHUNKED else b"")
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"HTTP/1.1 %d Told\r\n%b\r\n%b" % (self.status, head, body)


@dataclass(kw_only=True)
class Script:
    """The responses to one job: per method and path in their order, the last one repeatedly.

    Any other GET gets `image`, or 404 where there is none.
    """

    responses: Mapping[tuple[str, str], Sequence[RawResponse]]
    image: Sequence[RawResponse]
    sent: list[tuple[str, str, RawResponse]] = field(default_factory=list)

    def next_response(self, method: str, path: str) -> RawResponse:
        """Returns the next response."""
        responses = self.responses.get((method, path)) or (self.image if method == "GET" else ())
        before = sum((method, path) == (request[0], request[1]) for request in self.sent)
        response = responses[min(before, len(responses) - 1)] if responses else RawResponse(status=404)
        self.sent.append((method, path, response))
        return response


class FaultyProvider:
    """Plays many scripts at once; the first part of each path selects one."""

    def __init__(self) -> None:
        self.url = ""
        self._scripts: dict[str, Script] = {}

    def play(self, name: str, script: Script) -> str:
        """The address at which a script is played from now on."""
        self._scripts[name] = script
        return f"{self.url}/{name}"

    def forget(self, name: str) -> None:
        """Play a script no longer."""
        del self._scripts[name]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(":") for line in head[1:])}
            await reader.readexactly(int(fields.get("content-length", "0")))
            method, target, _ = head[0].split(" ")
            _, name, path = target.split("/", 2)
            script = self._scripts.get(name)
            response = (
                RawResponse(status=404)
                if script is None or "upgrade" in fields
                else script.next_response(method, f"/{path}")
            )
            if response.framing is not Framing.SILENT:
                writer.write(response.on_the_wire())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            # Tests include clients that close the connection within a response.
            pass
        finally:
            writer.close()


@asynccontextmanager
async def faulty_provider() -> AsyncIterator[FaultyProvider]:
    """Listen on a free port."""
    server = FaultyProvider()
    async with tcp_server(server.serve, limit=2**24) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


Alteration = Callable[[RawResponse], RawResponse]
