"""A receiver of webhooks that gives prepared responses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.notifier.processes import Received, Receiver
from tests.support.servers.tcp_servers import tcp_server

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


@dataclass
class Scripted(Receiver):
    """Gives its responses one after the other, then the last one again; None hangs until the other side goes."""

    responses: list[bytes | None] = field(default_factory=lambda: [OK])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (entry.partition(": ") for entry in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        self.received.put_nowait(Received(line=line, headers=headers, body=body))
        if response is None:
            await reader.read()
        else:
            writer.write(response)
            await writer.drain()


@asynccontextmanager
async def scripted(*responses: bytes | None) -> AsyncIterator[Scripted]:
    """A receiver on a port of 127.0.0.1."""
    found = Scripted(responses=list(responses))
    async with tcp_server(found.serve) as port:
        found.url = f"http://127.0.0.1:{port}/hooks"
        yield found
