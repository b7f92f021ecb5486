"""A DNS server for tests of servers whose address changes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

ADDRESS_RECORD = 1


class DnsServer(asyncio.DatagramProtocol):
    """Knows one address; after `moved`, it returns the old one once more, as caches do."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._next: str | None = None

    def moved(self, address: str) -> None:
        """The server will be elsewhere."""
        self._next = address

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        (kind,) = struct.unpack(">H", data[end - 4 : end - 2])
        records = []
        if kind == ADDRESS_RECORD:
            # Pointer to the question's name, type A, class IN, five seconds, four bytes.
            records = [struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(self._address)]
            self._address = self._next or self._address
        header = data[:2] + struct.pack(">HHHHH", 0x8400, 1, len(records), 0, 0)
        self._transport.sendto(header + data[12:end] + b"".join(records), addr)


@asynccontextmanager
async def dns_server(address: str) -> AsyncIterator[tuple[str, DnsServer]]:
    """Serves DNS; yields the prefix of targets that use this server, and the server."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: DnsServer(address), local_addr=("127.0.0.1", 0))
    try:
        yield f"dns://127.0.0.1:{transport.get_extra_info('sockname')[1]}", server
    finally:
        transport.close()
