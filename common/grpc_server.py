"""A gRPC server: access control, health that follows readiness, reflection, spans with a status, `ServiceError`.

The caller is identified before its message is received. grpc.aio receives the message of a unary method before any
handler runs, for every caller. Therefore each method is served as one that takes a stream of requests, and the server
reads from the stream only once it knows the caller. Until then HTTP/2 flow control holds back all but 64 KiB.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from calotype.error_reasons import Reason
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from common.errors import ServiceError, to_status
from common.grpc_access import OPEN, Authorizer, ServerSecurity
from common.grpc_audit import AuditedCall
from common.grpc_probes import Probes
from common.grpc_spans import HEADER, ServerSpan
from common.health import Readiness
from common.lifecycle import StartError

_LOG = logging.getLogger(__name__)
#: Name of the health check for liveness: it is SERVING for as long as the process responds, ready or not.
LIVE = "live"
#: Default size limit of a request, in bytes.
SMALL_REQUEST_BYTES = 4 * 1024 * 1024
#: Calls that one connection may have open; a gateway has one for each event stream.
MAX_STREAMS = 4_096
_INTERNAL = ServiceError(
    status=grpc.StatusCode.INTERNAL,
    reason=Reason.INTERNAL,
    message="The service failed unexpectedly; its log has the details.",
)
_NO_MESSAGE = ServiceError(
    status=grpc.StatusCode.INVALID_ARGUMENT,
    reason=Reason.INVALID_INPUT,
    message="The call has no request message of this method's type.",
)
_UNIMPLEMENTED = ServiceError(
    status=grpc.StatusCode.UNIMPLEMENTED, reason=Reason.NOT_FOUND, message="This service does not offer this method."
)


@dataclass(frozen=True, kw_only=True)
class GrpcService:
    """A service that a server offers."""

    #: Full name, `package.Service`.
    name: str
    #: The generated function `add_...Servicer_to_server`.
    add: Callable[[Any, grpc.aio.Server], None]
    #: The object that implements the methods.
    servicer: Any


@asynccontextmanager
async def serve(
    listen: str,
    services: Sequence[GrpcService],
    *,
    ready: Readiness,
    security: ServerSecurity = OPEN,
    max_request_bytes: int = SMALL_REQUEST_BYTES,
    grace_seconds: float = 5.0,
) -> AsyncIterator[int]:
    """Serves on `host:port` until the block ends; yields the bound port.

    Raises `StartError` for a port in use, and `ConfigError` for TLS files that cannot be used.

    With an authorizer, reflection needs an identity. Health checks need one only when `max_request_bytes` is over
    `SMALL_REQUEST_BYTES`; otherwise every caller that TLS accepts gets a response. `grace_seconds` bounds the wait for
    open calls at the end.
    """
    options = [
        ("grpc.so_reuseport", 0),
        # A longer message is refused by its announced length, before it is received. Clients bound the responses.
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Clients keep idle channels alive; without these options the server would close them for too many pings.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
    # Unknown callers may check health only where their messages are small.
    probe_authorizer = security.authorizer if max_request_bytes > SMALL_REQUEST_BYTES else None
    server = grpc.aio.server(interceptors=[_Interceptor(security, Probes(probe_authorizer))], options=options)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = [service.name for service in services]
    for service in services:
        service.add(service.servicer, server)
    reflected = [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(reflected, server)
    port = _bind(server, listen, security.credentials())
    ready.listen(_HealthUpdater(health, ["", *names]))
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
        raise StartError(
            f"Cannot listen on {listen}: the address is in use, or not an address of this machine."
        ) from error
    if not port:
        raise StartError(f"Cannot listen on {listen}: the address is in use, or not an address of this machine.")
    return port


class _HealthUpdater:
    """Sets the status of the health service to the process's readiness."""

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


class _Interceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler: access control, audit, a span with the call's status, `ServiceError` as a rich status.

    No code of the service runs before the authorizer has admitted the call.
    """

    def __init__(self, security: ServerSecurity, probes: Probes) -> None:
        self._security = security
        self._probes = probes
        #: By method of the services: its handler, and what serves it instead.
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        if handler is None:
            return None
        if method.startswith("/grpc.health."):
            return self._probes.wrap(handler)
        if method.startswith("/grpc.reflection."):
            return handler._replace(stream_stream=_reflection(handler.stream_stream, method, self._security))
        self._wrapped[method] = handler, self._wrap(handler, method)
        return self._wrapped[method][1]

    def _wrap(self, handler: Any, method: str) -> Any:
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(_unary(handler.unary_unary, method, self._security), **coders)
        if handler.unary_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _stream(handler.unary_stream, method, self._security), **coders
            )
        raise NotImplementedError(f"{method} takes a stream of requests, for which there is no access control here.")


def _unary(inner: Any, method: str, security: ServerSecurity) -> Any:
    async def handle(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call = _audited(method, context, security)
        with ServerSpan(method, _parent(context)).current() as span:
            try:
                response = await inner(await _admitted(security.authorizer, call, context, span), context)
            except BaseException as error:
                call.failed(error)
                await _abort(error, context, span, method)
                raise
            call.done(response)
            span.succeeded(context)
            return response

    return handle


def _stream(inner: Any, method: str, security: ServerSecurity) -> Any:
    async def handle(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        call = _audited(method, context, security)
        # Not the current span: the consumer of a generator runs in another context.
        span = ServerSpan(method, _parent(context))
        try:
            async for response in inner(await _admitted(security.authorizer, call, context, span), context):
                yield response
            span.succeeded(context)
        except BaseException as error:
            call.failed(error)
            await _abort(error, context, span, method)
            raise
        finally:
            span.end()

    return handle


def _reflection(inner: Any, method: str, security: ServerSecurity) -> Any:
    async def handle(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        if security.authorizer is not None:
            try:
                security.authorizer.identify(context)
            except ServiceError as error:
                _audited(method, context, security).failed(error)
                await context.abort_with_status(rpc_status.to_status(to_status(error)))
        async for response in inner(requests, context):
            yield response

    return handle


def _parent(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    """Returns the caller's traceparent; None without one."""
    parent = dict(context.invocation_metadata() or ()).get(HEADER)
    return parent if isinstance(parent, str) else None


def _audited(method: str, context: grpc.aio.ServicerContext[Any, Any], security: ServerSecurity) -> AuditedCall:
    return AuditedCall(
        method=method,
        peer=context.peer(),
        changes=security.changes(method),
        has_authorizer=security.authorizer is not None,
    )


async def _admitted(
    authorizer: Authorizer | None, call: AuditedCall, context: grpc.aio.ServicerContext[Any, Any], span: ServerSpan
) -> Any:
    """Receives and returns the request message of a caller that may make this call. Raises `ServiceError`."""
    if authorizer is not None:
        call.identity = authorizer.identify(context)
        authorizer.admit(call.identity, call.method, None)
        span.caller(call.identity.name)
    call.request = await _message(context)
    if authorizer is not None and call.identity is not None:
        authorizer.admit(call.identity, call.method, call.request)
    return call.request


async def _message(context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    try:
        message = await context.read()
    except DecodeError:
        raise _NO_MESSAGE from None
    if message is grpc.aio.EOF:
        raise _NO_MESSAGE
    return message


async def _abort(
    error: BaseException, context: grpc.aio.ServicerContext[Any, Any], span: ServerSpan, method: str
) -> None:
    if isinstance(error, grpc.aio.AbortError):
        # The servicer itself has aborted the call, with the status of the context.
        span.ended(context.code())
        return
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        span.canceled(context)
        return
    if isinstance(error, grpc.aio.InternalError):
        # Nothing can be sent to this caller any more. gRPC raises it where it has not yet canceled the call's task.
        span.canceled(context)
        raise asyncio.CancelledError from error
    if isinstance(error, NotImplementedError):
        sent = _UNIMPLEMENTED
    else:
        sent = error if isinstance(error, ServiceError) else _INTERNAL
    span.ended(sent.status, reason=sent.reason)
    if sent is _INTERNAL:
        _LOG.error("rpc.failed", extra={"method": method}, exc_info=error)
    await context.abort_with_status(rpc_status.to_status(to_status(sent)))
