"""Connections that stall as in a broken network: no more data arrives, and no end is signalled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.servers.tcp_servers import connection, tcp_server


class StallingProxy:
    """Forwards data in both directions, except on connections that were open at the last `stall`."""

    def __init__(self, upstream: str) -> None:
        self.address = ""
        self._upstream = upstream.rpartition(":")
        self._stalls = 0

    def stall(self) -> None:
        """From now on, nothing that is open carries a byte."""
        self._stalls += 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        host, _, port = self._upstream
        async with connection(host, int(port)) as (back, up):
            await asyncio.gather(self._pump(reader, up, self._stalls), self._pump(back, writer, self._stalls))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, stalls: int) -> None:
        try:
            while data := await source.read(65_536):
                if stalls == self._stalls:
                    sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()


@asynccontextmanager
async def stalling_proxy(upstream: str) -> AsyncIterator[StallingProxy]:
    """A line to `host:port`, on a free port of this machine."""
    proxy = StallingProxy(upstream)
    async with tcp_server(proxy.serve) as port:
        proxy.address = f"127.0.0.1:{port}"
        yield proxy
