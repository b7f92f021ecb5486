"""gRPC of a real job-service: whoever is not known moves none of its memory."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from calotype.job.v1 import job_pb2, job_service_pb2
from grpc_health.v1 import health_pb2

from cli.stack.child import Child, Program
from cli.stack.ports import free_port
from cli.stack.probes import grpc_ok
from tests.support.patience import PATIENCE
from tests.support.security.identities import entry, write
from tests.support.servers.embedded_servers import Server, nats_settings
from tests.support.servers.reaper import reaped

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
LARGE = bytes(45 * MIB)
STRANGERS = 24
#: What so many calls cost without their messages, far below what a few of these would take.
ROOM = 120 * MIB
CREATE = "/calotype.job.v1.JobService/CreateJob"
CLAIM = "/calotype.job.v1.WorkerService/ClaimJobs"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@dataclass(frozen=True)
class JobProcess:
    """A process of job-service, and where its two servers are."""

    process: psutil.Process
    clients: str
    workers: str


@pytest.fixture
def job_service(database_url: str, nats: Server, tmp_path: Path) -> Iterator[JobProcess]:
    """job-service with a client and a worker, whose tokens are their names."""
    identities = write(tmp_path / "identities.yaml", entry("gateway", "client", tenants="*"), entry("worker", "worker"))
    clients, workers = (f"127.0.0.1:{free_port()}" for _ in range(2))
    told = {
        "DATABASE_URL": database_url,
        **nats_settings(nats, "job"),
        "GRPC_LISTEN": clients,
        "WORKER_LISTEN": workers,
        "PUBLIC_BASE_URL": "http://pictures.test/",
        "GRPC_IDENTITIES_FILE": str(identities),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    program = Program(
        name="job",
        command=(sys.executable, "-m", "services.job"),
        environment=inherited
        | {f"CALOTYPE_{name}": value for name, value in told.items()}
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        log=tmp_path / "job.log",
        is_ready=lambda: grpc_ok(workers),
    )
    child = Child(program)
    child.start()
    with reaped(child.pid):
        try:
            child.wait_ready(PATIENCE)
            yield JobProcess(psutil.Process(child.pid), clients, workers)
        finally:
            child.stop(PATIENCE)


@asynccontextmanager
async def measured(process: psutil.Process) -> AsyncIterator[list[int]]:
    """Looks at the memory of a process all the time; what it held beforehand and each time, in bytes."""
    held = [process.memory_info().rss]

    async def look() -> None:
        while True:
            held.append(process.memory_info().rss)
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    try:
        yield held
    finally:
        looking.cancel()


async def strangers(address: str, method: str, *, token: str | None = None, streams: bool = False) -> Counter[str]:
    """How many of them, each on a connection of its own with a large message, are answered in which way."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    metadata = [("authorization", f"Bearer {token}")] if token else []

    async def ask(opened: grpc.aio.Channel) -> str:
        try:
            if streams:
                async for _ in opened.stream_stream(method)(iter([LARGE]), timeout=PATIENCE, metadata=metadata):
                    return "OK"
            else:
                await opened.unary_unary(method)(LARGE, timeout=PATIENCE, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(STRANGERS)
        ]
        return Counter(await asyncio.gather(*map(ask, channels)))


@pytest.mark.parametrize("token", [None, "wrong", "worker"])
async def test_large_messages_of_whoever_may_not_ask_are_not_received(
    job_service: JobProcess, token: str | None
) -> None:
    async with measured(job_service.process) as held:
        answered = await strangers(job_service.clients, CREATE, token=token)

    assert answered == {"PERMISSION_DENIED" if token == "worker" else "UNAUTHENTICATED": STRANGERS}
    assert max(held) - held[0] < ROOM


async def test_large_messages_to_the_workers_port_are_refused_by_their_length_even_from_workers(
    job_service: JobProcess,
) -> None:
    async with measured(job_service.process) as held:
        answered = await strangers(job_service.workers, CLAIM, token="worker")

    assert answered == {"RESOURCE_EXHAUSTED": STRANGERS}
    assert max(held) - held[0] < ROOM


async def test_large_messages_to_reflection_are_not_received(job_service: JobProcess) -> None:
    async with measured(job_service.process) as held:
        answered = await strangers(job_service.clients, REFLECTION, streams=True)

    # A client that is still writing may see that the call is over before it sees why.
    assert answered.keys() <= {"UNAUTHENTICATED", "INTERNAL"}
    assert max(held) - held[0] < ROOM


@pytest.mark.parametrize("method", [CHECK, WATCH])
async def test_large_messages_to_health_are_not_received(job_service: JobProcess, method: str) -> None:
    async with measured(job_service.process) as held:
        refused = await strangers(job_service.clients, method)
        too_long = await strangers(job_service.workers, method)

    assert refused == {"UNAUTHENTICATED": STRANGERS}
    assert too_long == {"RESOURCE_EXHAUSTED": STRANGERS}
    assert max(held) - held[0] < ROOM


async def test_a_probe_is_answered_while_others_hold_theirs_back(job_service: JobProcess) -> None:
    """As in a flood of calls that announce a message and do not send it."""
    waiting = asyncio.Event()

    async def nothing() -> AsyncIterator[bytes]:
        await waiting.wait()
        yield b""

    async with grpc.aio.insecure_channel(job_service.workers) as opened:
        held = [opened.stream_unary(CHECK)(nothing(), timeout=PATIENCE) for _ in range(50)]
        # The server ends the oldest calls that wait for a message, where there are too many.
        await asyncio.gather(*(call.wait_for_connection() for call in held), return_exceptions=True)
        check = opened.unary_unary(
            CHECK,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for _ in range(20):
            answer = await check(health_pb2.HealthCheckRequest(service="live"), timeout=PATIENCE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for call in held:
            call.cancel()


async def test_what_is_no_message_is_refused_and_no_failure_inside(job_service: JobProcess) -> None:
    metadata = [("authorization", "Bearer gateway")]

    async def none() -> AsyncIterator[bytes]:
        return
        yield

    async with grpc.aio.insecure_channel(job_service.clients) as opened:
        for sent in (
            opened.unary_unary(CREATE)(b"\xff\xff", metadata=metadata, timeout=PATIENCE),
            opened.stream_unary(CREATE)(none(), metadata=metadata, timeout=PATIENCE),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await sent
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_client_may_bring_as_many_pictures_as_a_job_takes(job_service: JobProcess) -> None:
    request = job_service_pb2.CreateJobRequest(
        tenant="acme",
        request=job_pb2.JobRequest(
            prompt="a harbour", input_images=[job_pb2.InputImage(data=bytes(20 * MIB)) for _ in range(2)]
        ),
    )
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(job_service.clients, options=options) as opened:
        create = opened.unary_unary(CREATE, request_serializer=type(request).SerializeToString)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await create(request, metadata=[("authorization", "Bearer gateway")], timeout=PATIENCE)

    # As far as a job-service goes that knows of no generator: the message is there.
    assert "No generator" in (refused.value.details() or "")
