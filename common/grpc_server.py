"""A gRPC server: who may call, health that follows readiness, reflection, traces with the right status, one no."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from opentelemetry.trace import SpanKind, Status, StatusCode

from common import tracing
from common.errors import ServiceError, to_status
from common.grpc_access import OPEN, Door, Guard
from common.health import Readiness
from common.lifecycle import StartError

_LOG = logging.getLogger(__name__)
#: What a liveness probe asks for: it is served for as long as the process answers, ready or not.
LIVE = "live"
_INTERNAL = ServiceError(
    status=grpc.StatusCode.INTERNAL,
    reason="INTERNAL",
    message="The service failed in a way that it should not; its log tells more.",
)
_UNIMPLEMENTED = ServiceError(
    status=grpc.StatusCode.UNIMPLEMENTED, reason="NOT_FOUND", message="This service does not offer that method."
)
#: Codes that tell of a defect or an outage of this side; the rest are answers to what was asked.
_SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A service that a server offers: its full name, the generated function that adds it, and what answers."""

    name: str
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any


@asynccontextmanager
async def serve(
    listen: str,
    services: Sequence[Served],
    *,
    ready: Readiness,
    door: Door = OPEN,
    max_message_bytes: int = 4 * 1024 * 1024,
    grace_seconds: float = 5.0,
) -> AsyncIterator[int]:
    """Serve on `host:port` until the block ends; yields the port that was bound. Raises `StartError` for a busy one.

    Health and reflection answer everybody that the door's TLS lets in; they tell what the contracts tell.
    """
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Clients keep idle channels alive; without these the server would turn them away for pinging too much.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
    server = grpc.aio.server(interceptors=[_Edge(door.guard)], options=options)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = [service.name for service in services]
    for service in services:
        service.add(service.servicer, server)
    reflected = [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(reflected, server)
    port = _bind(server, listen, door.credentials)
    ready.listen(_Follow(health, ["", *names]))
    await health.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace_seconds)


def _bind(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise StartError(f"Cannot listen on {listen}: the address is in use or not this machine's.") from error
    if not port:
        raise StartError(f"Cannot listen on {listen}: the address is in use or not this machine's.")
    return port


class _Follow:
    """Tells the health service what readiness says."""

    def __init__(self, health: health_aio.HealthServicer, names: Sequence[str]) -> None:
        self._health = health
        self._names = names
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, ok: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if ok else health_pb2.HealthCheckResponse.NOT_SERVING
        task = asyncio.get_running_loop().create_task(self._set(status))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _set(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)


class _Edge(grpc.aio.ServerInterceptor):
    """Wraps every handler: asks the guard, a span with the right status, `ServiceError` as rich status, nothing more.

    Nothing of the service runs before the guard has admitted the call.
    """

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(("/grpc.health.", "/grpc.reflection.")):
            return handler
        parent = dict(handler_call_details.invocation_metadata or ()).get("traceparent")
        parent = parent if isinstance(parent, str) else None
        if handler.unary_unary is not None:
            return handler._replace(unary_unary=_unary(handler.unary_unary, method, parent, self._guard))
        if handler.unary_stream is not None:
            return handler._replace(unary_stream=_stream(handler.unary_stream, method, parent, self._guard))
        raise NotImplementedError(f"{method} takes a stream of requests, which nothing here could refuse.")


def _unary(inner: Any, method: str, parent: str | None, guard: Guard | None) -> Any:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with _span(method, parent) as span:
            try:
                _admit(guard, method, request, context, span)
                return await inner(request, context)
            except BaseException as error:
                await _refuse(error, context, span, method)
                raise

    return handle


def _stream(inner: Any, method: str, parent: str | None, guard: Guard | None) -> Any:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        # Not the current span: the consumer of a generator runs in another context.
        span = tracing.open_span(method.lstrip("/"), kind=SpanKind.SERVER, parent=parent, attributes=_about(method))
        try:
            _admit(guard, method, request, context, span)
            async for response in inner(request, context):
                yield response
        except BaseException as error:
            await _refuse(error, context, span, method)
            raise
        finally:
            span.end()

    return handle


def _admit(
    guard: Guard | None, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any], span: Any
) -> None:
    if guard is not None:
        span.set_attribute("enduser.id", guard.admit(method, request, context).name)


def _span(method: str, parent: str | None) -> Any:
    return tracing.span(
        method.lstrip("/"), kind=SpanKind.SERVER, parent=parent, attributes=_about(method), judges_itself=True
    )


def _about(method: str) -> dict[str, str | int | float | bool]:
    service, _, name = method.lstrip("/").partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


async def _refuse(error: BaseException, context: grpc.aio.ServicerContext[Any, Any], span: Any, method: str) -> None:
    if isinstance(error, asyncio.CancelledError | GeneratorExit | grpc.aio.AbortError):
        span.set_attribute("rpc.status_code", "CANCELLED")
        return
    if isinstance(error, NotImplementedError):
        told = _UNIMPLEMENTED
    else:
        told = error if isinstance(error, ServiceError) else _INTERNAL
    span.set_attribute("rpc.status_code", told.status.name)
    if told.status in _SERVER_FAULTS:
        span.set_status(Status(StatusCode.ERROR, told.reason))
    if told is _INTERNAL:
        _LOG.error("rpc.failed", extra={"method": method}, exc_info=error)
    await context.abort_with_status(rpc_status.to_status(to_status(told)))
