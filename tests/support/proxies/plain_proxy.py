"""A proxy like nginx with only `proxy_pass`: it adds no header about itself or its clients.

As nginx documents its defaults, Host becomes that of the upstream server, the connection is closed, the version is 1.0.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.servers.tcp_servers import connection, tcp_server


@asynccontextmanager
async def plain_proxy(host: str, port: int) -> AsyncIterator[str]:
    """The proxy's URL; it passes each request on to `host:port`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *sent = (await reader.readuntil(b"\r\n\r\n")).rstrip(b"\r\n").split(b"\r\n")
            own = [first.replace(b"HTTP/1.1", b"HTTP/1.0"), f"Host: {host}:{port}".encode(), b"Connection: close"]
            passed = [line for line in sent if not line.lower().startswith((b"host:", b"connection:"))]
            length = next((int(line[15:]) for line in sent if line.lower().startswith(b"content-length:")), 0)
            async with connection(host, port) as (upstream_reader, upstream_writer):
                upstream_writer.write(b"\r\n".join([*own, *passed, b"", b""]) + await reader.readexactly(length))
                writer.write(await upstream_reader.read())
                await writer.drain()

    async with tcp_server(serve) as listening:
        yield f"http://127.0.0.1:{listening}"
