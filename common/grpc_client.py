"""gRPC channels that send trace and identity, and calls with a deadline that raise `ServiceError`."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import grpc
from calotype.error_reasons import Reason

from common.config import ConfigError
from common.errors import ServiceError, from_rpc_error
from common.grpc_spans import StreamSpans, UnaryMethod, server_attributes
from common.grpc_tls import TlsSettings, channel_credentials
from common.tracing import Attributes

T = TypeVar("T")
#: A deadline that fires this many seconds late means that this process was too busy, not that the server was slow.
LATE_SECONDS = 0.25
#: Options of every channel: keepalive, reconnecting, load balancing.
CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Bounds the detection of a server that sends nothing at all; the default is a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A server that restarts is found within two seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A server that restarts at another address is found within a few; by default a name is resolved every 30 seconds.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
    # When a name has several addresses, calls go to each in turn.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)
#: A server that stops cancels its unfinished calls; a call that this process cancels never returns a status.
_UNAVAILABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class ClientSettings(TlsSettings):
    """Settings of a process that calls other services."""

    #: Bearer token that identifies this process to the services it calls. None: no token is sent.
    grpc_token: str | None = field(default=None, repr=False, metadata={"secret": True})


@asynccontextmanager
async def channel(
    address: str, *, settings: ClientSettings | None = None, max_message_bytes: int = 4 * 1024 * 1024
) -> AsyncIterator[grpc.aio.Channel]:
    """Opens a channel to `host:port` inside the running loop; closes it with the block.

    Without settings, the channel has no TLS and sends no identity. Raises `ConfigError`.
    """
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        *CHANNEL_OPTIONS,
    ]
    settings = settings or ClientSettings()
    credentials = channel_credentials(settings)
    server, identity = server_attributes(address), _identity(settings.grpc_token)
    interceptors = [StreamSpans(server), *([_StreamIdentity(identity)] if identity else [])]
    if credentials is None:
        opened = grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    else:
        opened = grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)
    async with opened:
        yield cast("grpc.aio.Channel", _Channel(opened, server, identity))


class _Channel:
    """A channel whose unary methods have spans and send the identity; interceptors do that for its streams."""

    def __init__(self, inner: grpc.aio.Channel, server: Attributes, identity: Sequence[tuple[str, str]]) -> None:
        self._inner, self._server, self._identity = inner, server, identity

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> UnaryMethod:
        return UnaryMethod(self._inner.unary_unary(method, *arguments, **options), method, self._server, self._identity)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _identity(token: str | None) -> tuple[tuple[str, str], ...]:
    """Returns the metadata with the token; none for None. Raises `ConfigError`."""
    if token is None:
        return ()
    if not all("!" <= character <= "~" for character in token):
        raise ConfigError("CALOTYPE_GRPC_TOKEN: the given value is no token; it must be visible ASCII.")
    return (("authorization", f"Bearer {token}"),)


class _StreamIdentity(grpc.aio.UnaryStreamClientInterceptor):
    """Sends the identity with each call whose response is a stream."""

    def __init__(self, identity: Sequence[tuple[str, str]]) -> None:
        self._identity = identity

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()), *self._identity)
        return await continuation(client_call_details._replace(metadata=metadata), request)


async def call(method: Callable[..., Awaitable[T]], request: Any, *, timeout: float, attempts: int = 1) -> T:
    """Makes a unary call; `timeout` is in seconds and bounds all attempts together.

    Repeats the call, after a short random pause, when the server was unavailable or this process was too busy to send
    in time (`LATE_SECONDS`; then the time starts anew). The server may execute each attempt: allow more than one only
    for calls that may run twice. Raises `ServiceError`.
    """
    deadline = time.monotonic() + timeout
    for attempt in range(1, attempts + 1):
        try:
            return await method(request, timeout=max(deadline - time.monotonic(), 0.001))
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error)
            is_late = failure.status is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() > deadline + LATE_SECONDS
            if attempt == attempts or not (is_late or failure.status in _UNAVAILABLE):
                raise failure from error
            if is_late:
                deadline = time.monotonic() + timeout
        await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - spreads load, keeps no secret
    raise AssertionError("attempts must be at least 1")


def stream(method: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
    """Opens and reads a server's stream; leaving the iteration cancels the call. Raises `ServiceError`."""
    return read_stream(method(request))


async def open_stream(method: Callable[..., Any], request: Any, *, timeout: float) -> Any:
    """Opens a stream and waits up to `timeout` seconds for the server's initial metadata: it has accepted the call.

    Returns the open stream, for `read_stream`. Raises `ServiceError`.
    """
    responses = method(request)
    try:
        async with asyncio.timeout(timeout):
            await responses.initial_metadata()
            if responses.done() and await responses.code() is not grpc.StatusCode.OK:
                # Reading raises the error.
                await anext(aiter(responses))
    except BaseException as error:
        responses.cancel()
        if isinstance(error, grpc.aio.AioRpcError):
            raise from_rpc_error(error) from error
        if isinstance(error, TimeoutError):
            raise ServiceError(
                status=grpc.StatusCode.DEADLINE_EXCEEDED,
                reason=Reason.SERVICE_UNAVAILABLE,
                message="The stream did not start in time.",
            ) from error
        raise
    return responses


async def read_stream(responses: Any) -> AsyncIterator[Any]:
    """Reads an open stream; leaving the iteration cancels the call. Raises `ServiceError`."""
    try:
        async for response in responses:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        responses.cancel()


def is_unavailable(error: ServiceError) -> bool:
    """Returns whether the server was unavailable or too slow, rather than refusing the call."""
    return error.status in _UNAVAILABLE or error.status is grpc.StatusCode.DEADLINE_EXCEEDED
