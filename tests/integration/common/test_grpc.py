"""gRPC as services speak it: refusals keep their reason, spans keep the truth, nothing internal leaves."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import grpc
import pytest
from calotype.error_reasons import Reason
from calotype.job.v1 import job_service_pb2, job_service_pb2_grpc, worker_service_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from common import tracing
from common.errors import FieldViolation, ServiceError
from common.grpc_client import call, channel, open_stream, read_stream, stream
from common.grpc_server import LIVE, GrpcService, serve
from common.grpc_spans import PERIODIC_CALLS
from common.health import Readiness
from common.telemetry import metrics, registry
from common.tracing import span
from tests.support.patience import PATIENCE

REFUSAL = ServiceError(
    status=grpc.StatusCode.FAILED_PRECONDITION,
    reason=Reason.WRONG_STATE,
    message="It is completed.",
    retry_after_seconds=1.5,
    field_violations=(FieldViolation(field="job_id", description="is final"),),
    metadata={"state": "completed"},
)


class Service(job_service_pb2_grpc.JobServiceServicer):
    """Answers by what the tenant is called."""

    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.asked = 0

    async def GetJob(self, request: Any, context: Any) -> Any:
        self.asked += 1
        match request.tenant:
            case "first canceled" if self.asked == 1:
                raise ServiceError(status=grpc.StatusCode.CANCELLED, reason=Reason("CANCELLED"), message="It stops.")
            case "refused":
                raise REFUSAL
            case "broken":
                raise RuntimeError("secret of the house")
            case "away":
                raise ServiceError(
                    status=grpc.StatusCode.UNAVAILABLE, reason=Reason.SERVICE_UNAVAILABLE, message="Later."
                )
            case "hangs":
                self.hanging.set()
                await asyncio.Event().wait()
        return job_service_pb2.GetJobResponse()

    async def ListFinalEvents(self, request: Any, context: Any) -> Any:
        if request.page_token == "broken":
            raise RuntimeError("secret of the house")
        return job_service_pb2.ListFinalEventsResponse()

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        match request.tenant:
            case "refused":
                raise REFUSAL
            case "quiet":
                await context.send_initial_metadata(())
                await asyncio.Event().wait()
            case "hangs":
                self.hanging.set()
                await asyncio.Event().wait()
            case "opens too late":
                self.hanging.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                await context.send_initial_metadata(())
        yield job_service_pb2.WatchJobResponse()
        raise REFUSAL


class Spans(InMemorySpanExporter):
    """Keeps spans, and lets a test wait for the server's: it ends after the caller has its answer."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    def export(self, spans: Any) -> Any:
        """Take spans."""
        if any(one.kind is SpanKind.SERVER for one in spans):
            self._ended.set()
        return super().export(spans)

    async def of_server(self) -> ReadableSpan:
        """The one span of the server."""
        async with asyncio.timeout(PATIENCE):
            await self._ended.wait()
        [found] = [one for one in self.get_finished_spans() if one.kind is SpanKind.SERVER]
        return found


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Spans of this test alone."""
    exporter = Spans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.using(provider):
        yield exporter


@pytest.fixture
async def stub() -> AsyncIterator[Any]:
    """A client of a running server."""
    service = Service()
    served = GrpcService(
        name="calotype.job.v1.JobService",
        add=job_service_pb2_grpc.add_JobServiceServicer_to_server,
        servicer=service,
    )
    async with serve("127.0.0.1:0", [served], ready=Readiness()) as port, channel(f"127.0.0.1:{port}") as opened:
        stub = job_service_pb2_grpc.JobServiceStub(opened)
        stub.service = service
        yield stub


async def ask(stub: Any, tenant: str, **options: Any) -> Any:
    """Call with a deadline."""
    return await call(stub.GetJob, job_service_pb2.GetJobRequest(tenant=tenant), **({"timeout": PATIENCE} | options))


async def test_a_refusal_arrives_as_it_was_meant(stub: Any) -> None:
    with pytest.raises(ServiceError) as refusal:
        await ask(stub, "refused")
    told = refusal.value

    assert (told.status, told.reason, told.message) == (REFUSAL.status, REFUSAL.reason, REFUSAL.message)
    assert (told.retry_after_seconds, told.field_violations, dict(told.metadata)) == (
        1.5,
        REFUSAL.field_violations,
        {"state": "completed"},
    )


async def test_a_stream_is_refused_in_the_same_way(stub: Any) -> None:
    answers = stream(stub.WatchJob, job_service_pb2.WatchJobRequest())
    first = await anext(answers)
    with pytest.raises(ServiceError, match="WRONG_STATE"):
        await anext(answers)

    assert isinstance(first, job_service_pb2.WatchJobResponse)


async def open_watch(stub: Any, tenant: str, *, timeout: float = PATIENCE) -> Any:
    """Ask for a stream, and wait until it has begun."""
    return await open_stream(stub.WatchJob, job_service_pb2.WatchJobRequest(tenant=tenant), timeout=timeout)


async def test_a_stream_is_open_once_it_is_taken_however_long_its_first_answer_is_in_coming(stub: Any) -> None:
    opened = await open_watch(stub, "quiet")

    async with aclosing(read_stream(opened)) as answers:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(answers), 0.1)
    assert opened.cancelled()


async def test_a_stream_that_is_refused_does_not_open(stub: Any) -> None:
    with pytest.raises(ServiceError, match="WRONG_STATE"):
        await open_watch(stub, "refused")


async def test_a_stream_that_nobody_takes_is_given_up_in_time(stub: Any) -> None:
    with pytest.raises(ServiceError) as refusal:
        await open_watch(stub, "hangs", timeout=0.2)

    assert refusal.value.status is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_what_a_server_that_stops_did_not_get_to_is_asked_again(stub: Any) -> None:
    await ask(stub, "first canceled", attempts=2)

    assert stub.service.asked == 2


@pytest.mark.parametrize(("attempts", "succeeds"), [(1, False), (2, True)])
async def test_a_call_that_this_process_was_too_busy_to_make_is_made_again_if_it_may_be(
    stub: Any, attempts: int, succeeds: bool
) -> None:
    made = 0

    async def ask_once(request: Any, *, timeout: float, **options: Any) -> Any:
        nonlocal made
        made += 1
        # Only the first is to be late, however busy this process is otherwise.
        return await stub.GetJob(request, timeout=timeout if made == 1 else PATIENCE, **options)

    await ask(stub, "fine")
    request = job_service_pb2.GetJobRequest(tenant="fine")
    asking = asyncio.create_task(call(ask_once, request, timeout=0.2, attempts=attempts))
    # Until it is under way.
    for _ in range(3):
        await asyncio.sleep(0)
    # What a rush of work does to the loop: nothing is sent, nothing is heard.
    time.sleep(0.8)  # noqa: ASYNC251
    [answer] = await asyncio.gather(asking, return_exceptions=True)

    assert isinstance(answer, ServiceError) is not succeeds


async def test_a_defect_tells_nothing_internal(stub: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ServiceError) as refusal:
        await ask(stub, "broken")

    assert (refusal.value.status, refusal.value.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in str(refusal.value)
    assert "secret of the house" in caplog.text


@pytest.mark.parametrize(
    ("tenant", "status", "code"),
    [
        ("fine", StatusCode.UNSET, "OK"),
        ("refused", StatusCode.UNSET, "FAILED_PRECONDITION"),
        ("broken", StatusCode.ERROR, "INTERNAL"),
        ("away", StatusCode.ERROR, "UNAVAILABLE"),
    ],
)
async def test_a_span_has_the_status_of_its_answer(
    spans: Spans, stub: Any, tenant: str, status: StatusCode, code: str
) -> None:
    if code == "OK":
        await ask(stub, tenant)
    else:
        with pytest.raises(ServiceError):
            await ask(stub, tenant)
    found = await spans.of_server()

    assert found.status.status_code is status
    assert (found.attributes or {}).get("rpc.response.status_code") == code


async def test_a_caller_that_goes_away_leaves_a_canceled_span(spans: Spans, stub: Any) -> None:
    asking = asyncio.create_task(ask(stub, "hangs"))
    await stub.service.hanging.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    found = await spans.of_server()

    assert (found.attributes or {})["rpc.response.status_code"] == "CANCELLED"


async def test_a_caller_that_goes_before_its_stream_opens_is_no_defect(
    spans: Spans, stub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    opening = asyncio.create_task(open_watch(stub, "opens too late"))
    await stub.service.hanging.wait()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    found = await spans.of_server()

    assert (found.attributes or {})["rpc.response.status_code"] == "CANCELLED"
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_trace_goes_from_client_to_server(spans: Spans, stub: Any) -> None:
    with span(registry.GENERATE):
        await ask(stub, "fine")
    server = await spans.of_server()
    client, caller = [one for one in spans.get_finished_spans() if one is not server]

    assert (client.kind, client.name, caller.name) == (SpanKind.CLIENT, server.name, "generate images")
    assert [one.parent and one.parent.span_id for one in (server, client)] == [
        client.context.span_id,
        caller.context.span_id,
    ]
    assert server.context.trace_id == caller.context.trace_id


async def poll(stub: Any, page_token: str) -> Any:
    """Makes a call that services repeat all the time."""
    return await call(
        stub.ListFinalEvents, job_service_pb2.ListFinalEventsRequest(page_token=page_token), timeout=PATIENCE
    )


async def test_a_periodic_call_has_a_span_only_if_it_fails(spans: Spans, stub: Any) -> None:
    await poll(stub, "")
    assert spans.get_finished_spans() == ()

    before = time.time_ns()
    with pytest.raises(ServiceError):
        await poll(stub, "broken")
    server = await spans.of_server()
    [client] = [one for one in spans.get_finished_spans() if one is not server]

    for found in (server, client):
        assert found.name == "calotype.job.v1.JobService/ListFinalEvents"
        assert (found.status.status_code, found.status.description) == (StatusCode.ERROR, "INTERNAL")
        assert before <= (found.start_time or 0) < (found.end_time or 0)


async def test_a_periodic_call_within_a_trace_has_spans(spans: Spans, stub: Any) -> None:
    with span(registry.GENERATE):
        await poll(stub, "")
    server = await spans.of_server()

    assert {one.kind for one in spans.get_finished_spans()} == {SpanKind.SERVER, SpanKind.CLIENT, SpanKind.INTERNAL}
    assert server.name in PERIODIC_CALLS


def test_periodic_calls_are_methods_of_the_contract() -> None:
    services = (job_service_pb2, worker_service_pb2, health_pb2)
    methods = {
        f"{service.full_name}/{method.name}"
        for module in services
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    assert methods >= PERIODIC_CALLS


@pytest.mark.slow
async def test_a_quiet_stream_whose_caller_asks_for_signs_of_life_is_left_alone() -> None:
    # A server that finds this too often says so with the third.
    often = [("grpc.keepalive_time_ms", 5_200), ("grpc.http2.max_pings_without_data", 0)]
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serve("127.0.0.1:0", [], ready=Readiness()))
        opened = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=often))
        quiet = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=18)
        await quiet.read()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await quiet.read()

    # By its own deadline.
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_liveness_does_not_follow_readiness() -> None:
    ready = Readiness("database")
    async with serve("127.0.0.1:0", [], ready=ready) as port, channel(f"127.0.0.1:{port}") as opened:
        health = health_pb2_grpc.HealthStub(opened)
        seen = {name: await health.Check(health_pb2.HealthCheckRequest(service=name)) for name in ("", LIVE)}

    assert seen[""].status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert seen[LIVE].status == health_pb2.HealthCheckResponse.SERVING


async def test_servers_behind_one_name_are_asked_in_turn() -> None:
    first, second = Readiness(), Readiness("never")
    async with (
        serve("127.0.0.1:0", [], ready=first) as one,
        serve("127.0.0.1:0", [], ready=second) as other,
        channel(f"ipv4:127.0.0.1:{one},127.0.0.1:{other}") as opened,
    ):
        health, seen = health_pb2_grpc.HealthStub(opened), set()
        while len(seen) < 2:
            seen.add((await health.Check(health_pb2.HealthCheckRequest())).status)


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with channel("127.0.0.1:1") as opened:
        with pytest.raises(ServiceError) as refusal:
            await ask(job_service_pb2_grpc.JobServiceStub(opened), "fine")

    assert refusal.value.status is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("tenant", "status"), [("acme", "OK"), ("refused", "FAILED_PRECONDITION"), ("broken", "INTERNAL")]
)
async def test_a_call_is_measured_on_both_sides(tenant: str, status: str) -> None:
    def counted() -> list[float]:
        return [
            sample.value
            for family in metrics.PROCESS.collect()
            for sample in family.samples
            if sample.name.startswith("calotype_rpc_")
            and sample.name.endswith("_count")
            and sample.labels == {"rpc_method": "calotype.job.v1.JobService/GetJob", "rpc_status": status}
        ]

    before = sum(counted())
    service = GrpcService(
        name="calotype.job.v1.JobService", add=job_service_pb2_grpc.add_JobServiceServicer_to_server, servicer=Service()
    )
    async with serve("127.0.0.1:0", [service], ready=Readiness()) as port, channel(f"127.0.0.1:{port}") as opened:
        stub = job_service_pb2_grpc.JobServiceStub(opened)
        with suppress(ServiceError):
            await call(stub.GetJob, job_service_pb2.GetJobRequest(tenant=tenant), timeout=PATIENCE)

    assert sum(counted()) == before + 2
