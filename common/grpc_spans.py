"""Spans and durations of gRPC calls, on both sides, with the status of each by the semantic conventions."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import Span

from common import tracing
from common.telemetry import metrics, registry
from common.tracing import Attributes

#: Status codes of a defect or an outage of the server. To a client, each code but OK is a failure.
SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
#: Calls that services repeat as long as they run, outside of any trace. They have a span only if they fail: as many
#: would be made by services without work as by jobs.
PERIODIC_CALLS = frozenset(
    {
        "calotype.job.v1.WorkerService/ClaimJobs",
        "calotype.job.v1.WorkerService/ClaimUploads",
        "calotype.job.v1.WorkerService/ClaimSettlements",
        "calotype.job.v1.WorkerService/ClaimDeletions",
        "calotype.job.v1.WorkerService/ClaimSweep",
        "calotype.job.v1.WorkerService/RenewLeases",
        "calotype.job.v1.WorkerService/RegisterProviders",
        "calotype.job.v1.JobService/ListFinalEvents",
        "grpc.health.v1.Health/Check",
    }
)
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
HEADER = "traceparent"


class ServerSpan:
    """The span of a served call; a child of `parent`, the caller's traceparent. It measures the call as well.

    A periodic call without a parent gets its span when it fails.
    """

    def __init__(self, method: str, parent: str | None) -> None:
        self._attributes = _attributes(method)
        self._method = method.lstrip("/")
        self._began_at, self._began_ns = time.perf_counter(), time.time_ns()
        self._status = grpc.StatusCode.CANCELLED
        self._span: Span = trace.INVALID_SPAN
        if parent or self._method not in PERIODIC_CALLS:
            context = tracing.context_from(parent)
            self._span = tracing.open_span(registry.RPC_SERVER, self._attributes, context=context)

    @contextmanager
    def current(self) -> Iterator["ServerSpan"]:
        """Makes the span the current one in the block, ends it with the block, and measures a unary call."""
        token = attach(trace.set_span_in_context(self._span))
        try:
            yield self
        finally:
            # The span is the current one still, and becomes the exemplar.
            seconds = time.perf_counter() - self._began_at
            metrics.observe(registry.RPC_SERVER_SECONDS, seconds, self._method, self._status.name)
            detach(token)
            self.end()

    def caller(self, name: str) -> None:
        """Notes the identity of the calling process."""
        self._span.set_attribute(registry.ENDUSER_ID, name)

    def succeeded(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Notes that the servicer returned: with OK, unless it set another code."""
        code: Any = context.code()
        self.ended(code or grpc.StatusCode.OK)

    def canceled(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Notes that the call was canceled: by its deadline, or by its caller, who had no failure then."""
        seconds_left = context.time_remaining()
        is_late = seconds_left is not None and seconds_left <= 0
        self.ended(grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED)

    def ended(self, code: grpc.StatusCode | int | None, *, reason: str = "") -> None:
        """Notes the status of the response, and the reason of an error."""
        status = code if isinstance(code, grpc.StatusCode) else _CODES.get(code or 0, grpc.StatusCode.UNKNOWN)
        self._status = status
        if status in SERVER_FAULTS and self._span is trace.INVALID_SPAN:
            self._span = tracing.open_span(registry.RPC_SERVER, self._attributes, began_ns=self._began_ns)
        self._span.set_attribute(registry.RPC_STATUS, status.name)
        if reason:
            self._span.set_attribute(registry.ERROR_REASON, reason)
        if status in SERVER_FAULTS:
            tracing.fail(status.name, span=self._span)

    def end(self) -> None:
        """Ends the span."""
        self._span.end()


def client_interceptors(address: str) -> "list[grpc.aio.ClientInterceptor]":
    """Returns what opens a span for each call of a channel to `host:port`, and sends its context to the server."""
    # grpc.aio would register one class for both kinds only as the first.
    return [_UnarySpans(address), _StreamSpans(address)]


class _UnarySpans(grpc.aio.UnaryUnaryClientInterceptor):
    """Opens a span around each unary call, and measures it."""

    def __init__(self, address: str) -> None:
        self._server = _server(address)

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        sent = _ClientCall(client_call_details, self._server)
        status = grpc.StatusCode.CANCELLED
        try:
            call = await continuation(sent.details, request)
            # Awaited here, so that a cancellation reaches the call.
            await call
            status = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            status = error.code()
            raise
        finally:
            sent.ended(status)
            sent.measured(status)
        return call


class _StreamSpans(grpc.aio.UnaryStreamClientInterceptor):
    """Opens a span for each call whose response is a stream; it ends with the stream."""

    def __init__(self, address: str) -> None:
        self._server = _server(address)
        self._ending: set[asyncio.Task[None]] = set()

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        sent = _ClientCall(client_call_details, self._server)
        try:
            call = await continuation(sent.details, request)
        except BaseException:
            sent.ended(grpc.StatusCode.CANCELLED)
            raise

        def end(_: Any) -> None:
            task = asyncio.ensure_future(_end_with(call, sent))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        call.add_done_callback(end)
        return call


class _ClientCall:
    """The span and the duration of a call that this process makes."""

    def __init__(self, details: Any, server: Attributes) -> None:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        self._method = method.lstrip("/")
        self._attributes: Attributes = {**_attributes(method), **server}
        self._began_at, self._began_ns = time.perf_counter(), time.time_ns()
        self._span: Span = trace.INVALID_SPAN
        if self._method not in PERIODIC_CALLS or trace.get_current_span().get_span_context().is_valid:
            self._span = tracing.open_span(registry.RPC_CLIENT, self._attributes)
        #: What the next interceptor gets: with the span's context, if there is one.
        self.details = _with_span(details, self._span)

    def ended(self, status: grpc.StatusCode) -> None:
        """Ends the span; a periodic call that failed gets one now."""
        is_failed = status is not grpc.StatusCode.OK
        if is_failed and self._span is trace.INVALID_SPAN:
            self._span = tracing.open_span(registry.RPC_CLIENT, self._attributes, began_ns=self._began_ns)
        self._span.set_attribute(registry.RPC_STATUS, status.name)
        if is_failed:
            tracing.fail(status.name, span=self._span)
        self._span.end()

    def measured(self, status: grpc.StatusCode) -> None:
        """Adds the duration of a unary call, except of health and reflection."""
        if not self._method.startswith("grpc."):
            seconds = time.perf_counter() - self._began_at
            metrics.observe(registry.RPC_CLIENT_SECONDS, seconds, self._method, status.name)


async def _end_with(call: Any, sent: _ClientCall) -> None:
    sent.ended(await call.code())


def _with_span(details: Any, span: Span) -> Any:
    parent = tracing.traceparent_of(span)
    if parent is None:
        return details
    others = [(key, value) for key, value in details.metadata or () if key != HEADER]
    return details._replace(metadata=grpc.aio.Metadata(*others, (HEADER, parent)))


def _attributes(method: str) -> Attributes:
    return {registry.RPC_SYSTEM: "grpc", registry.RPC_METHOD: method.lstrip("/")}


def _server(address: str) -> Attributes:
    """Returns the attributes of an address `host:port`; the whole of another form as the address."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "," not in address:
        return {registry.SERVER_ADDRESS: host, registry.SERVER_PORT: int(port)}
    return {registry.SERVER_ADDRESS: address}
