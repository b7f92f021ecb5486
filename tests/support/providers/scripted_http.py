"""An HTTP server that plays a script: each request must be the expected next one, and gets its response.

Any other request gets 599 and is recorded; at the end, an unexpected request or a missing one fails the test.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tests.support.patience import PATIENCE
from tests.support.servers.tcp_servers import tcp_server

_ANYTHING = object()


class Manner(Enum):
    """How a response is sent."""

    WHOLE = auto()
    """As it should be."""
    HANG_UP = auto()
    """The request is read, and the connection broken."""
    MUTE = auto()
    """The request is read, and nothing follows until the script ends."""
    CUT = auto()
    """The head promises one byte more than comes."""
    ENDLESS = auto()
    """The body goes on until the client has had enough."""
    HOLD = auto()
    """The answer waits until `release`."""


@dataclass(frozen=True, kw_only=True)
class ScriptedResponse:
    """A response: `body` is bytes, sent unchanged, or any other value as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = Manner.WHOLE

    @property
    def content(self) -> bytes:
        """The body on the wire."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None when there is none."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, kw_only=True)
class _Expected:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    response: ScriptedResponse
    in_turn: bool

    def differs(self, request: Request) -> str:
        """What about a request is not as expected."""
        if (request.method, request.path) != (self.method, self.path):
            return f"{request.method} {request.path} came instead of {self.method} {self.path}"
        for name, value in self.headers.items():
            if request.headers.get(name.lower()) != value:
                return f"{self.path}: header {name} is {request.headers.get(name.lower())!r} instead of {value!r}"
        if self.body is not _ANYTHING and request.json != self.body:
            return f"{self.path}: body is {request.body!r} instead of {self.body!r}"
        return ""


class ScriptedServer:
    """Where it listens, what is still expected, what came."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.surprises: list[str] = []
        self._expected: list[_Expected] = []
        self._changed = asyncio.Condition()
        self._over = asyncio.Event()
        self._released = asyncio.Event()
        self._running = AsyncExitStack()

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def expect(
        self,
        method: str,
        path: str,
        response: ScriptedResponse,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = _ANYTHING,
        times: int = 1,
        in_turn: bool = True,
    ) -> None:
        """Expect a request after those that are expected already, or at any time where it is not to come in its turn.

        `body` is compared as JSON, None is no body.
        """
        expected = _Expected(
            method=method, path=path, headers=headers or {}, body=body, response=response, in_turn=in_turn
        )
        self._expected += [expected] * times

    def forget(self) -> None:
        """Drops all expected requests that have not arrived yet."""
        self._expected.clear()

    def count(self, method: str, path: str) -> int:
        """Returns how many such requests arrived."""
        return sum((request.method, request.path) == (method, path) for request in self.requests)

    async def wait_for(self, times: int = 1) -> None:
        """Waits until that many requests have arrived."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= times)

    def verify(self) -> None:
        """Fail unless all that was expected came, and nothing else."""
        missing = [f"{expected.method} {expected.path}" for expected in self._expected]
        assert not self.surprises, self.surprises
        assert not missing, f"these requests did not arrive: {missing}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            request = await _read(reader)
            if request is not None:
                await self._send(await self._response_to(request), writer)
        except ConnectionError:
            # Tests include clients that close the connection within a response.
            pass
        finally:
            writer.close()

    def release(self) -> None:
        """Releases held responses."""
        self._released.set()

    async def open(self) -> None:
        """Listen on a free port."""
        self.url = f"http://127.0.0.1:{await self._running.enter_async_context(tcp_server(self.serve))}"

    async def close(self) -> None:
        """Closes all connections, and accepts no more."""
        self._over.set()
        self._released.set()
        await self._running.aclose()

    async def _response_to(self, request: Request) -> ScriptedResponse:
        if request.headers.get("upgrade") == "websocket" and not any(
            expected.path == request.path for expected in self._expected
        ):
            # Nothing may depend on live progress: where none is expected there is none.
            return ScriptedResponse(status=404)
        async with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        next_in_turn = [expected for expected in self._expected if expected.in_turn][:1]
        candidates = [expected for expected in self._expected if not expected.in_turn] + next_in_turn
        differences = [expected.differs(request) for expected in candidates]
        if "" in differences:
            expectation = candidates[differences.index("")]
            self._expected.remove(expectation)
            return expectation.response
        why = differences[-1] if differences else f"{request.method} {request.path} came and nothing was expected"
        self.surprises.append(why)
        return ScriptedResponse(status=599)

    async def _send(self, response: ScriptedResponse, writer: asyncio.StreamWriter) -> None:
        if response.manner is Manner.HANG_UP:
            return
        if response.manner is Manner.MUTE:
            await self._over.wait()
            return
        if response.manner is Manner.HOLD:
            await self._released.wait()
        size = {"Content-Length": str(len(response.content) + (response.manner is Manner.CUT))}
        headers = {"Connection": "close"} | ({} if response.manner is Manner.ENDLESS else size) | dict(response.headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {response.status} Scripted\r\n{head}\r\n".encode() + response.content)
        await writer.drain()
        while response.manner is Manner.ENDLESS and not self._over.is_set():
            writer.write(b"x" * 65_536)
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = head[0].split(" ")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method=method, path=path, headers=headers, body=body)


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    """Listens on a free port; checks the script at the end of a test without other failures."""
    script = ScriptedServer()
    await script.open()
    try:
        yield script
    finally:
        await script.close()
    script.verify()
