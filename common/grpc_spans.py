"""Spans of gRPC calls, on both sides, with the status of each call by the semantic conventions."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.trace import Span

from common import tracing
from common.telemetry import registry
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
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
HEADER = "traceparent"


class ServerSpan:
    """The span of a served call; a child of `parent`, the caller's traceparent."""

    def __init__(self, method: str, parent: str | None) -> None:
        context = tracing.context_from(parent)
        self._span = tracing.open_span(registry.RPC_SERVER, _attributes(method), context=context)

    @contextmanager
    def current(self) -> Iterator["ServerSpan"]:
        """Makes the span the current one in the block, and ends it with the block."""
        with trace.use_span(self._span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield self

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
    """Opens a span around each unary call."""

    def __init__(self, address: str) -> None:
        self._server = _server(address)

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        span = _client_span(client_call_details, self._server)
        try:
            call = await continuation(_with_span(client_call_details, span), request)
            # Awaited here, so that a cancellation reaches the call.
            await call
        except grpc.aio.AioRpcError as error:
            _end(span, error.code())
            raise
        except BaseException as error:
            _end_without_status(span, error)
            raise
        _end(span, grpc.StatusCode.OK)
        return call


class _StreamSpans(grpc.aio.UnaryStreamClientInterceptor):
    """Opens a span for each call whose response is a stream; it ends with the stream."""

    def __init__(self, address: str) -> None:
        self._server = _server(address)
        self._ending: set[asyncio.Task[None]] = set()

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        span = _client_span(client_call_details, self._server)
        try:
            call = await continuation(_with_span(client_call_details, span), request)
        except BaseException as error:
            _end_without_status(span, error)
            raise

        def end(_: Any) -> None:
            task = asyncio.ensure_future(_end_with(call, span))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        call.add_done_callback(end)
        return call


async def _end_with(call: Any, span: Span) -> None:
    _end(span, await call.code())


def _end(span: Span, code: grpc.StatusCode) -> None:
    span.set_attribute(registry.RPC_STATUS, code.name)
    if code is not grpc.StatusCode.OK:
        tracing.fail(code.name, span=span)
    span.end()


def _end_without_status(span: Span, error: BaseException) -> None:
    """Ends the span of a call that was canceled here, or could not be made."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        _end(span, grpc.StatusCode.CANCELLED)
    else:
        tracing.fail(type(error).__name__, span=span)
        span.end()


def _client_span(details: Any, server: Attributes) -> Span:
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return tracing.open_span(registry.RPC_CLIENT, {**_attributes(method), **server})


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
