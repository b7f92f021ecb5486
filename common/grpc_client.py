"""gRPC channels that carry trace and identity, and one way to call: with a deadline, and typed when it is a no."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from common import tracing
from common.config import ConfigError
from common.errors import ServiceError, from_rpc_error
from common.grpc_tls import TlsSettings, channel_credentials

T = TypeVar("T")
#: The end of a call's time is heard so much later only by a process that has too much to do.
LATE_SECONDS = 0.25
#: How every channel is kept alive, and finds its server again.
CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Where nothing at all answers, this is what counts; by default it is a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A server that comes back is found within two seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # One that comes back elsewhere, within a few: by default a name is not asked for again before thirty are over.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
    # A name that stands for several servers: each is asked in turn.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)
#: A server that stops cancels what it does not get to; what the caller itself cancels never comes back as a status.
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class ClientSettings(TlsSettings):
    """Settings of a process that calls other services."""

    #: Token that the process sends with each gRPC call; read once, at the start.
    grpc_token: str | None = field(default=None, repr=False, metadata={"secret": True})


@asynccontextmanager
async def channel(
    address: str, *, settings: ClientSettings | None = None, max_message_bytes: int = 4 * 1024 * 1024
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `host:port`, kept alive; made inside the running loop and closed with the block.

    Without settings it is in the clear and shows no identity. Raises `ConfigError`.
    """
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        *CHANNEL_OPTIONS,
    ]
    settings = settings or ClientSettings()
    credentials, interceptors = channel_credentials(settings), _bearers(settings.grpc_token)
    if credentials is None:
        opened = grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    else:
        opened = grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)
    async with opened:
        yield opened


def _bearers(token: str | None) -> "list[grpc.aio.ClientInterceptor]":
    if token is None:
        return []
    if not all("!" <= character <= "~" for character in token):
        raise ConfigError("CALOTYPE_GRPC_TOKEN: the given value is no token; it must be visible ASCII.")
    # One class for both kinds would be taken for the first alone.
    return [_UnaryBearer(token), _StreamBearer(token)]


class _UnaryBearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends the token with each unary call."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_token(client_call_details, self._token), request)


class _StreamBearer(grpc.aio.UnaryStreamClientInterceptor):
    """Sends the token with each call that answers with a stream."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_token(client_call_details, self._token), request)


def _with_token(details: Any, token: str) -> Any:
    said = grpc.aio.Metadata(*(details.metadata or ()), ("authorization", f"Bearer {token}"))
    return details._replace(metadata=said)


def metadata() -> tuple[tuple[str, str], ...]:
    """Metadata that carries the current trace."""
    parent = tracing.traceparent()
    return (("traceparent", parent),) if parent else ()


async def call(method: Callable[..., Awaitable[T]], request: Any, *, timeout: float, attempts: int = 1) -> T:
    """Make a unary call with a deadline in seconds for all attempts together.

    Tried again, after a short random pause, is what a server did not get to do, and what this process was too busy to
    send in time: give more than one attempt only to what may come twice. Raises `ServiceError`.
    """
    deadline = time.monotonic() + timeout
    for attempt in range(1, attempts + 1):
        try:
            return await method(request, timeout=max(deadline - time.monotonic(), 0.001), metadata=metadata())
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            is_late = refusal.status is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() > deadline + LATE_SECONDS
            if attempt == attempts or not (is_late or refusal.status in _AWAY):
                raise refusal from error
            if is_late:
                deadline = time.monotonic() + timeout
        await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - spreads load, keeps no secret
    raise AssertionError("attempts must be at least 1")


def stream(method: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
    """Read a server's stream; leaving the iteration cancels the call. Raises `ServiceError`."""
    return read(method(request, metadata=metadata()))


async def open_stream(method: Callable[..., Any], request: Any, *, timeout: float) -> Any:
    """Ask for a stream and wait, for so many seconds, until the server has taken the call, which it says by metadata.

    What is returned is for `read`. Raises `ServiceError`.
    """
    responses = method(request, metadata=metadata())
    try:
        async with asyncio.timeout(timeout):
            await responses.initial_metadata()
            if responses.done() and await responses.code() is not grpc.StatusCode.OK:
                # Reading it is how to have the error.
                await anext(aiter(responses))
    except BaseException as error:
        responses.cancel()
        if isinstance(error, grpc.aio.AioRpcError):
            raise from_rpc_error(error) from error
        if isinstance(error, TimeoutError):
            raise ServiceError(
                status=grpc.StatusCode.DEADLINE_EXCEEDED,
                reason="SERVICE_UNAVAILABLE",
                message="The stream was not begun in time.",
            ) from error
        raise
    return responses


async def read(responses: Any) -> AsyncIterator[Any]:
    """Read a stream that is open; leaving the iteration cancels the call. Raises `ServiceError`."""
    try:
        async for response in responses:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        responses.cancel()


def is_unavailable(error: ServiceError) -> bool:
    """Whether the other side is away rather than unwilling."""
    return error.status in _AWAY or error.status is grpc.StatusCode.DEADLINE_EXCEEDED
