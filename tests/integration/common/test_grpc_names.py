"""A name that stands for servers which come and go, as a Service without an address of its own does in Kubernetes."""

import asyncio
import socket
import struct
import sys
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.stack.ports import free_port
from common.grpc_client import channel
from common.grpc_server import serve
from common.health import Readiness

ADDRESS_RECORD = 1


class Names(asyncio.DatagramProtocol):
    """A name server that knows one address; once `moved`, it tells the old one a last time, as caches do."""

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
        answers = []
        if kind == ADDRESS_RECORD:
            # Pointer to the question's name, type A, class IN, five seconds, four bytes.
            answers = [struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(self._address)]
            self._address = self._next or self._address
        header = data[:2] + struct.pack(">HHHHH", 0x8400, 1, len(answers), 0, 0)
        self._transport.sendto(header + data[12:end] + b"".join(answers), addr)


@pytest.mark.skipif(sys.platform != "linux", reason="needs more than one loopback address")
async def test_a_server_that_comes_back_elsewhere_is_found_within_seconds() -> None:
    loop, port = asyncio.get_running_loop(), free_port()
    transport, names = await loop.create_datagram_endpoint(lambda: Names("127.0.0.2"), local_addr=("127.0.0.1", 0))
    authority = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    async with AsyncExitStack() as stack:
        stack.callback(transport.close)
        await stack.enter_async_context(serve(f"127.0.0.3:{port}", [], ready=Readiness()))
        opened = await stack.enter_async_context(channel(f"dns://{authority}/job.test:{port}"))
        stub = health_pb2_grpc.HealthStub(opened)
        async with serve(f"127.0.0.2:{port}", [], ready=Readiness()):
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            names.moved("127.0.0.3")
        async with asyncio.timeout(15):
            while True:
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    await opened.channel_ready()

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
