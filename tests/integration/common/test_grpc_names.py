"""A name that stands for servers which come and go, as a Service without an address of its own does in Kubernetes."""

import asyncio
import sys
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.stack.ports import free_port
from common.grpc_client import CHANNEL_OPTIONS, channel
from common.grpc_server import serve
from common.health import Readiness
from tests.support.patience import PATIENCE
from tests.support.servers.dns_server import dns_server


def test_a_name_is_asked_for_again_after_two_seconds_and_not_after_thirty() -> None:
    assert dict(CHANNEL_OPTIONS)["grpc.dns_min_time_between_resolutions_ms"] == 2_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers at all of 127.0.0.0/8")
async def test_a_server_that_comes_back_elsewhere_is_found() -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        authority, names = await stack.enter_async_context(dns_server("127.0.0.2"))
        await stack.enter_async_context(serve(f"127.0.0.3:{port}", [], ready=Readiness()))
        opened = await stack.enter_async_context(channel(f"{authority}/job.test:{port}"))
        stub = health_pb2_grpc.HealthStub(opened)
        async with serve(f"127.0.0.2:{port}", [], ready=Readiness()):
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
            names.moved("127.0.0.3")
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    await opened.channel_ready()

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
