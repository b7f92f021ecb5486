"""The status of spans of gRPC calls on both sides, by OpenTelemetry's conventions, however a call ends.

A server's span is an error only for a fault of the server; to a client, every status but OK is one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from calotype.error_reasons import Reason
from calotype.job.v1 import job_service_pb2, job_service_pb2_grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from common import tracing
from common.errors import ServiceError
from common.grpc_client import channel
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from tests.support.patience import PATIENCE

METHODS = ("GetJob", "WatchJob")
#: How a call ends: status codes of the spans of client and server; a code that is an error is marked with `!`.
ENDS = {
    "ok": ("OK", "OK"),
    "abort": ("!RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
    "abort as a fault": ("!DATA_LOSS", "!DATA_LOSS"),
    "rich status": ("!FAILED_PRECONDITION", "FAILED_PRECONDITION"),
    "rich status of a fault": ("!UNAVAILABLE", "!UNAVAILABLE"),
    "service error": ("!NOT_FOUND", "NOT_FOUND"),
    "code that is set": ("!ABORTED", "ABORTED"),
    "exception": ("!INTERNAL", "!INTERNAL"),
    "not implemented": ("!UNIMPLEMENTED", "!UNIMPLEMENTED"),
    "deadline of the server": ("!DEADLINE_EXCEEDED", "!DEADLINE_EXCEEDED"),
    "deadline of the client": ("!DEADLINE_EXCEEDED", "!DEADLINE_EXCEEDED"),
    "cancellation": ("!CANCELLED", "CANCELLED"),
}
ABORTS = {"abort": grpc.StatusCode.RESOURCE_EXHAUSTED, "abort as a fault": grpc.StatusCode.DATA_LOSS}
RICH = {"rich status": code_pb2.FAILED_PRECONDITION, "rich status of a fault": code_pb2.UNAVAILABLE}
RAISED: dict[str, Exception] = {
    "service error": ServiceError(status=grpc.StatusCode.NOT_FOUND, reason=Reason.JOB_NOT_FOUND, message="a secret"),
    "deadline of the server": ServiceError(
        status=grpc.StatusCode.DEADLINE_EXCEEDED, reason=Reason.SERVICE_UNAVAILABLE, message="a secret"
    ),
    "exception": RuntimeError("a secret"),
    "not implemented": NotImplementedError(),
}


class Service(job_service_pb2_grpc.JobServiceServicer):
    """Ends a call as its request says."""

    def __init__(self) -> None:
        self.hanging = asyncio.Event()

    async def GetJob(self, request: Any, context: Any) -> Any:
        await self._end(request.job_id, context)
        return job_service_pb2.GetJobResponse()

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield job_service_pb2.WatchJobResponse()
        await self._end(request.job_id, context)

    async def _end(self, how: str, context: Any) -> None:
        if how in ABORTS:
            await context.abort(ABORTS[how], "a secret")
        elif how in RICH:
            await context.abort_with_status(rpc_status.to_status(_rich(RICH[how])))
        elif how in RAISED:
            raise RAISED[how]
        elif how == "code that is set":
            context.set_code(grpc.StatusCode.ABORTED)
        elif how != "ok":
            self.hanging.set()
            await asyncio.Event().wait()


def _rich(code: int) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message="a secret")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="WRONG_STATE", domain="calotype"))
    return status


class Spans(InMemorySpanExporter):
    """Keeps spans, and lets a test wait for those of both sides: a server's ends after its client has the response."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def export(self, spans: Any) -> Any:
        """Takes spans."""
        result = super().export(spans)
        self._changed.set()
        return result

    async def of_both_sides(self) -> tuple[ReadableSpan, ReadableSpan]:
        """Returns the span of the client and that of the server."""
        async with asyncio.timeout(PATIENCE):
            while len(found := {span.kind: span for span in self.get_finished_spans()}) < 2:
                self._changed.clear()
                await self._changed.wait()
        assert len(self.get_finished_spans()) == 2
        return found[SpanKind.CLIENT], found[SpanKind.SERVER]


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Spans of this test alone."""
    exporter = Spans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.using(provider):
        yield exporter


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, Any]]:
    """A servicer, and a client of it."""
    servicer = Service()
    served = GrpcService(
        name="calotype.job.v1.JobService",
        add=job_service_pb2_grpc.add_JobServiceServicer_to_server,
        servicer=servicer,
    )
    async with serve("127.0.0.1:0", [served], ready=Readiness()) as port, channel(f"127.0.0.1:{port}") as opened:
        yield servicer, job_service_pb2_grpc.JobServiceStub(opened)


async def make(stub: Any, method: str, how: str) -> None:
    """Makes a call and reads all of its response."""
    timeout = 0.3 if how == "deadline of the client" else PATIENCE
    if method == "GetJob":
        await stub.GetJob(job_service_pb2.GetJobRequest(job_id=how), timeout=timeout)
    else:
        call = stub.WatchJob(job_service_pb2.WatchJobRequest(job_id=how), timeout=timeout)
        try:
            async for _ in call:
                pass
        finally:
            # As the services do: a reader that is canceled before the first response leaves the call open.
            call.cancel()


def noted(span: ReadableSpan) -> str:
    """The status code of a span, with `!` if it is an error; everything that says so agrees."""
    attributes = span.attributes or {}
    code = str(attributes["rpc.response.status_code"])
    is_error = span.status.status_code is StatusCode.ERROR
    assert is_error or span.status.status_code is StatusCode.UNSET
    assert attributes.get("error.type") == span.status.description == (code if is_error else None)
    return f"!{code}" if is_error else code


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ENDS)
async def test_spans_of_both_sides_have_the_status_of_the_call(
    spans: Spans, service: tuple[Service, Any], how: str, method: str
) -> None:
    servicer, stub = service
    making = asyncio.create_task(make(stub, method, how))
    if how == "cancellation":
        await servicer.hanging.wait()
        making.cancel()
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await making
    client, server = await spans.of_both_sides()

    assert (noted(client), noted(server)) == ENDS[how]
    assert client.name == server.name == f"calotype.job.v1.JobService/{method}"
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert "secret" not in client.to_json() + server.to_json()
    assert [*client.events, *server.events] == []


async def test_a_call_that_could_not_be_made_has_the_error_and_no_status(spans: Spans) -> None:
    async with channel("127.0.0.1:1") as opened:
        stub = job_service_pb2_grpc.JobServiceStub(opened)
    with pytest.raises(grpc.aio.UsageError):
        await stub.GetJob(job_service_pb2.GetJobRequest(), timeout=PATIENCE)
    [span] = spans.get_finished_spans()

    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, "UsageError")
    assert "rpc.response.status_code" not in (span.attributes or {})
