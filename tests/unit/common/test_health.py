"""Readiness, and the gRPC health service that follows it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from calotype.job.v1 import job_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.grpc_client import channel
from common.grpc_server import GrpcService, serve
from common.health import Condition, Readiness
from tests.support.patience import PATIENCE

SERVICE = "calotype.job.v1.JobService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def test_it_is_ready_once_every_condition_holds() -> None:
    ready = Readiness("database", "broker")
    seen = [ready.ok]
    for name in ("database", "broker"):
        ready.set(name, True)
        seen.append(ready.ok)

    assert seen == [False, False, True]


def test_who_depends_on_nothing_is_ready() -> None:
    assert Readiness().ok


def test_a_condition_that_nobody_named_before_counts_from_then_on() -> None:
    ready = Readiness()
    ready.set("catalogue", False, "not told yet")

    assert not ready.ok


def test_the_report_tells_why_and_forgets_what_has_passed() -> None:
    ready = Readiness("database", "broker")
    ready.set("database", False, "it is away")
    first = ready.report()
    ready.set("database", True, "it was away")

    assert first == (
        Condition(name="broker", ok=False, message="not checked yet"),
        Condition(name="database", ok=False, message="it is away"),
    )
    assert ready.report()[1] == Condition(name="database", ok=True, message="")


def test_listeners_hear_how_it_is_and_then_of_each_change_once() -> None:
    ready, heard = Readiness("database", "broker"), list[bool]()
    ready.set("broker", True)
    ready.listen(heard.append)
    for ok in (False, True, True, False, False, True):
        ready.set("database", ok)

    assert heard == [False, True, False, True]


def test_every_listener_hears_of_it() -> None:
    ready, first, second = Readiness("database"), list[bool](), list[bool]()
    ready.listen(first.append)
    ready.set("database", True)
    ready.listen(second.append)

    assert (first, second) == ([False, True], [True])


def test_a_condition_that_is_lost_and_one_that_is_restored_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ready = Readiness("database", "broker")
    ready.set("broker", True)
    for ok in (False, False, True, True, False):
        ready.set("database", ok, "it is away")

    logged = [(one.message, one.condition, one.reason) for one in caplog.records]  # type: ignore[attr-defined]
    lost, restored = ("condition.lost", "database", "it is away"), ("condition.restored", "database", "it is away")
    assert logged == [lost, restored, lost]


class Watched:
    """The health service as an orchestrator asks it."""

    def __init__(self, stub: Any, name: str) -> None:
        self._stub = stub
        self._name = name
        self._stream = stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)

    async def until(self, status: int) -> None:
        """Wait until it says so."""
        async with asyncio.timeout(PATIENCE):
            while (await self._stream.read()).status != status:
                pass

    async def now(self) -> int:
        """What it answers to a single question."""
        answer = await self._stub.Check(health_pb2.HealthCheckRequest(service=self._name), timeout=PATIENCE)
        return int(answer.status)


@asynccontextmanager
async def asked(ready: Readiness, name: str) -> AsyncIterator[Watched]:
    """A server, and its health."""
    served = GrpcService(
        name=SERVICE,
        add=job_service_pb2_grpc.add_JobServiceServicer_to_server,
        servicer=job_service_pb2_grpc.JobServiceServicer(),
    )
    async with (
        serve("127.0.0.1:0", [served], ready=ready, grace_seconds=0) as port,
        channel(f"127.0.0.1:{port}") as opened,
    ):
        yield Watched(health_pb2_grpc.HealthStub(opened), name)


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_the_health_service_says_serving_exactly_while_it_is_ready(name: str) -> None:
    ready = Readiness("database")
    async with asked(ready, name) as health:
        for _ in range(2):
            await health.until(NOT_SERVING)
            assert await health.now() == NOT_SERVING
            ready.set("database", True)
            await health.until(SERVING)
            assert await health.now() == SERVING
            ready.set("database", False)


async def test_what_was_ready_before_the_server_was_there_is_serving() -> None:
    async with asked(Readiness(), SERVICE) as health:
        await health.until(SERVING)


async def test_of_many_changes_the_last_one_counts() -> None:
    ready = Readiness("database")
    async with asked(ready, SERVICE) as health:
        for number in range(101):
            ready.set("database", number % 2 == 0)
        await health.until(SERVING)
        ready.set("broker", False)
        await health.until(NOT_SERVING)

        assert await health.now() == NOT_SERVING


async def test_a_service_that_is_not_there_has_no_health() -> None:
    async with asked(Readiness(), "calotype.nothing.v1.Nothing") as health:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.now()

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
