"""A proxy of a NATS server that resets connections: open ones, and new ones right after the greeting."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.servers.tcp_servers import connection, tcp_server

#: SO_LINGER with no time to linger: closing sends RST in place of FIN.
_RESET = struct.pack("ii", 1, 0)


@dataclass
class ResettingProxy:
    """Resets the next `resets` connections after the server's first line."""

    upstream: str
    url: str = ""
    resets: int = 0
    open_connections: set[asyncio.StreamWriter] = field(default_factory=set)

    def reset_open(self) -> None:
        """Reset every connection that is open now."""
        for writer in self.open_connections:
            _reset(writer)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        to = urlsplit(self.upstream)
        async with connection(to.hostname or "", to.port or 0) as (from_server, to_server):
            if self.resets:
                self.resets -= 1
                writer.write(await from_server.readline())
                await writer.drain()
                _reset(writer)
                return
            self.open_connections.add(writer)
            try:
                await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))
            finally:
                self.open_connections.discard(writer)


@asynccontextmanager
async def resetting_proxy(upstream: str) -> AsyncIterator[ResettingProxy]:
    """The proxy on a free port of this machine."""
    proxy = ResettingProxy(upstream)
    user = urlsplit(upstream).netloc.rpartition("@")[0]
    async with tcp_server(proxy.handle) as port:
        proxy.url = f"nats://{user}@127.0.0.1:{port}"
        yield proxy


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(65_536):
            sink.write(chunk)
            await sink.drain()
    # The other direction ends too.
    sink.close()
