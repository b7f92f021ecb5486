"""Spans and durations of gRPC calls, on both sides, with the status of each by the semantic conventions."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
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


def server_attributes(address: str) -> Attributes:
    """Returns the attributes of an address `host:port`; the whole of another form as the address."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "," not in address:
        return {registry.SERVER_ADDRESS: host, registry.SERVER_PORT: int(port)}
    return {registry.SERVER_ADDRESS: address}


class UnaryMethod:
    """A unary method of a channel: each call has a span, is measured, and sends the span's context to the server.

    An interceptor would do it as well, but grpc.aio runs interceptors in a task of their own, for each call.
    """

    def __init__(self, inner: Any, path: str, server: Attributes, metadata: Sequence[tuple[str, str]]) -> None:
        self._inner = inner
        self._method = path.lstrip("/")
        self._attributes: Attributes = {**_attributes(path), **server}
        self._metadata = tuple(metadata)

    async def __call__(self, request: Any, *, metadata: Iterable[tuple[str, str]] = (), **options: Any) -> Any:
        """Makes a call and returns its response. Raises `grpc.aio.AioRpcError`."""
        sent = _ClientCall(self._method, self._attributes)
        status, error_type = grpc.StatusCode.CANCELLED, ""
        try:
            response = await self._inner(request, metadata=sent.metadata((*metadata, *self._metadata)), **options)
            status = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            status = error.code()
            raise
        except Exception as error:
            error_type = type(error).__name__
            raise
        finally:
            sent.ended(status, error_type=error_type)
            sent.measured(status)
        return response


class StreamSpans(grpc.aio.UnaryStreamClientInterceptor):
    """Opens a span for each call whose response is a stream, and sends its context; it ends with the stream."""

    def __init__(self, server: Attributes) -> None:
        self._server = server
        self._ending: set[asyncio.Task[None]] = set()

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        path = details.method.decode() if isinstance(details.method, bytes) else details.method
        sent = _ClientCall(path.lstrip("/"), {**_attributes(path), **self._server})
        try:
            metadata = grpc.aio.Metadata(*sent.metadata(details.metadata or ()))
            call = await continuation(details._replace(metadata=metadata), request)
        except BaseException as error:
            error_type = type(error).__name__ if isinstance(error, Exception) else ""
            sent.ended(grpc.StatusCode.CANCELLED, error_type=error_type)
            raise

        def end(_: Any) -> None:
            task = asyncio.ensure_future(_end_with(call, sent))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        call.add_done_callback(end)
        return call


class _ClientCall:
    """The span and the duration of a call that this process makes."""

    def __init__(self, method: str, attributes: Attributes) -> None:
        self._method, self._attributes = method, attributes
        self._began_at, self._began_ns = time.perf_counter(), time.time_ns()
        self._span: Span = trace.INVALID_SPAN
        if self._method not in PERIODIC_CALLS or trace.get_current_span().get_span_context().is_valid:
            self._span = tracing.open_span(registry.RPC_CLIENT, self._attributes)

    def metadata(self, pairs: Iterable[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
        """Returns the metadata with the span's context, if there is one, instead of another."""
        parent = tracing.traceparent_of(self._span)
        if parent is None:
            return tuple(pairs)
        return (*((key, value) for key, value in pairs if key != HEADER), (HEADER, parent))

    def ended(self, status: grpc.StatusCode, *, error_type: str = "") -> None:
        """Ends the span; a periodic call that failed gets one now.

        `error_type` is the class of the error of a call that could not be made, which has no status; "" for others.
        """
        is_failed = status is not grpc.StatusCode.OK
        if is_failed and self._span is trace.INVALID_SPAN:
            self._span = tracing.open_span(registry.RPC_CLIENT, self._attributes, began_ns=self._began_ns)
        if not error_type:
            self._span.set_attribute(registry.RPC_STATUS, status.name)
        if is_failed:
            tracing.fail(error_type or status.name, span=self._span)
        self._span.end()

    def measured(self, status: grpc.StatusCode) -> None:
        """Adds the duration of a unary call, except of health and reflection."""
        if not self._method.startswith("grpc."):
            seconds = time.perf_counter() - self._began_at
            metrics.observe(registry.RPC_CLIENT_SECONDS, seconds, self._method, status.name)


async def _end_with(call: Any, sent: _ClientCall) -> None:
    sent.ended(await call.code())


@lru_cache(1024)
def _attributes(method: str) -> Attributes:
    return {registry.RPC_SYSTEM: "grpc", registry.RPC_METHOD: method.lstrip("/")}
