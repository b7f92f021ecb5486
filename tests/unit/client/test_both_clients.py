"""What both clients keep to, against a service in this process that is reached by real gRPC."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from calotype.client import (
    AsyncJobClient,
    DeadlineExceeded,
    InvalidRequest,
    JobClient,
    Unavailable,
    batches,
    call_policy,
)
from calotype.client.call_policy import RequestIdentity
from calotype.job.v1 import job_pb2

from cli.stack.ports import free_port
from common.errors import FieldViolation
from tests.support.clients.python_clients import KINDS, client
from tests.support.job_service.fake_job_service import FakeJobService, refusal, serving
from tests.support.patience import PATIENCE
from tests.support.proxies.stalling_proxy import stalling_proxy
from tests.support.servers.dns_server import dns_server

AWAY = refusal(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")


class Service(FakeJobService):
    """Remembers how long each call was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}

    def _begin(self, method: str, request: Any, context: Any) -> None:
        self.seconds[method] = context.time_remaining()
        super()._begin(method, request, context)


@pytest.fixture
async def service() -> Service:
    """What answers the clients."""
    return Service()


@pytest.fixture
async def address(service: Service) -> AsyncIterator[str]:
    """Where it listens."""
    async with serving(service) as found:
        yield found


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest.fixture
async def jobs(address: str, kind: str) -> AsyncIterator[Any]:
    """The client, as a coroutine asks it."""
    async with client(kind, address) as opened:
        yield opened


async def test_every_call_has_a_deadline(jobs: Any, service: Service) -> None:
    job = await jobs.create("a harbour")
    await jobs.get(job.id)
    assert [one.id async for one in jobs.jobs()] == [job.id]
    await jobs.attempts(job.id)
    await jobs.providers()
    service.move(job.id, status=job_pb2.STATUS_FAILED)
    await jobs.retry(job.id)
    await jobs.cancel(job.id)
    assert [update.sequence async for update in jobs.watch(job.id)] == [4]
    stream = service.seconds.pop("WatchJob")
    assert [update async for update in jobs.watch(job.id, timeout=100, after=4)] == []
    await jobs.delete(job.id)

    # gRPC rounds up what it sends, and some of it has passed when a call arrives: nobody knows how much.
    assert call_policy.CALL_SECONDS == 10
    assert 100 < stream < 302
    assert 0 < service.seconds.pop("WatchJob") < 102
    assert len(service.seconds) == 8
    assert all(0 < seconds < 11 for seconds in service.seconds.values())


async def test_many_jobs_are_created_in_batches_with_a_result_for_each(
    jobs: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = (FieldViolation(field="n", description="At most 10."),)
    bad = refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", "n: At most 10.", field_violations=wrong)
    full = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry_after_seconds=5)
    service.refusals["CreateJobs"], service.refusals["CreateJobsItem"] = [AWAY], [bad, full]
    created = await jobs.create_many(["a", job_pb2.JobRequest(prompt="b", n=2), *["c"] * 101])

    assert [len(request.items) for request in service.requests] == [100, 100, 3]
    first, second = created[:2]
    assert (type(first), first.reason, first.fields) == (InvalidRequest, "INVALID_INPUT", {"n": "At most 10."})
    assert (type(second), second.reason, second.retry_after_seconds) == (Unavailable, "QUOTA_EXCEEDED", 5)
    assert len({job.id for job in created[2:]}) == 101
    keyed = [await jobs.create_many(["a", "a"], idempotency_keys=["k", ""]) for _ in range(2)]
    assert len({job.id for both in keyed for job in both}) == 3
    with pytest.raises(ValueError, match="1 keys for 2 requests"):
        await jobs.create_many(["a", "b"], idempotency_keys=["k"])
    # Images are bytes of the message, too.
    monkeypatch.setattr(batches, "MAX_BATCH_BYTES", 1_000)
    await jobs.create_many(["x" * 600, "x" * 600, "x" * 1_001, "a"])
    assert [len(request.items) for request in service.requests[-4:]] == [1, 1, 1, 1]
    assert await jobs.create_many([]) == []


async def test_pictures_get_the_time_that_a_slow_line_takes(
    jobs: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call_policy.BODY_BYTES_PER_SECOND == 1024 * 1024
    # So slow that it shows, however long a busy machine takes to hear of the call.
    monkeypatch.setattr(call_policy, "BODY_BYTES_PER_SECOND", 8 * 1024 * 1024 / PATIENCE)
    picture = job_pb2.InputImage(data=bytes(8 * 1024 * 1024))
    await jobs.create(job_pb2.JobRequest(prompt="a harbour", input_images=[picture]))

    assert call_policy.CALL_SECONDS + 1 < service.seconds["CreateJob"] < call_policy.CALL_SECONDS + PATIENCE + 2


async def test_whoever_waits_outlasts_a_service_that_is_away(jobs: Any, service: Service) -> None:
    job = service.add(tenant="acme", status=job_pb2.STATUS_COMPLETED)
    # More than an ordinary call bears.
    service.refusals["GetJob"] = [AWAY] * 4
    service.refusals["WatchJob"] = [AWAY]

    assert await jobs.wait(job.id, timeout=PATIENCE) == job


async def test_whoever_waits_goes_on_when_streams_are_ended_early(jobs: Any, service: Service) -> None:
    job = service.add(tenant="acme")
    waiting = asyncio.create_task(jobs.wait(job.id, timeout=PATIENCE))
    for _ in range(2):
        await service.until(lambda service: service.watching == 1)
        service.break_streams(job.id)
        await service.until(lambda service: service.watching == 0)
    service.move(job.id, status=job_pb2.STATUS_COMPLETED)
    ended = await waiting

    assert (ended.status, ended.request) == (job_pb2.STATUS_COMPLETED, job.request)


def test_a_name_is_asked_for_again_after_two_seconds_and_not_after_thirty() -> None:
    assert dict(call_policy.CHANNEL_OPTIONS)["grpc.dns_min_time_between_resolutions_ms"] == 2_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers at all of 127.0.0.0/8")
async def test_a_service_that_comes_back_elsewhere_is_found(kind: str, service: Service) -> None:
    job, port = service.add(tenant="acme"), free_port()
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        authority, names = await stack.enter_async_context(dns_server("127.0.0.2"))
        jobs = await stack.enter_async_context(client(kind, f"{authority}/job.test:{port}"))
        async with serving(service, f"127.0.0.2:{port}"):
            waiting = asyncio.create_task(jobs.wait(job.id, timeout=PATIENCE))
            await service.until(lambda service: service.watching == 1)
            names.moved("127.0.0.3")
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        async with serving(service, f"127.0.0.3:{port}"):
            ended = await waiting

    assert ended.status == job_pb2.STATUS_COMPLETED


@pytest.mark.slow
async def test_a_connection_that_died_silently_is_replaced(
    address: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client asks for signs of life every 20 seconds; here it does sooner.
    sooner = [
        (name, 2_000 if name == "grpc.keepalive_time_ms" else value) for name, value in call_policy.CHANNEL_OPTIONS
    ]
    monkeypatch.setattr(call_policy, "CHANNEL_OPTIONS", sooner)
    job = service.add(tenant="acme")
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(stalling_proxy(address))
        both = [await stack.enter_async_context(client(kind, line.address)) for kind in KINDS]
        waiting = [asyncio.create_task(jobs.wait(job.id, timeout=PATIENCE)) for jobs in both]
        await service.until(lambda service: service.watching == 2)
        line.stall()
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        async with asyncio.timeout(PATIENCE):
            ended = await asyncio.gather(*waiting)

    assert [one.sequence for one in ended] == [2, 2]


async def test_the_time_to_wait_is_kept_when_nothing_answers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is not the end of a single call that ends the waiting.
    monkeypatch.setattr(call_policy, "CALL_SECONDS", 10 * PATIENCE)
    # Connections are taken, and nobody speaks on them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client(kind, f"127.0.0.1:{silent.getsockname()[1]}") as jobs, asyncio.timeout(PATIENCE):
            with pytest.raises(DeadlineExceeded, match=r"not final after 0\.3 s"):
                await jobs.wait("job_1", timeout=0.3)


@pytest.mark.parametrize("token", ["secret\n", "sécret", "sec ret"])
async def test_what_can_be_no_token_is_refused_without_being_told(token: str) -> None:
    for make in (JobClient, AsyncJobClient):
        with pytest.raises(ValueError, match="token") as refused:
            make("127.0.0.1:1", tenant="acme", token=token)
        assert "cret" not in str(refused.value)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(RequestIdentity(tenant="acme", token="secret"))
