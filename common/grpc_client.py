"""gRPC channels that carry the trace, and one way to call: with a deadline, and typed when the answer is no."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc

from common import tracing
from common.errors import ServiceError, from_rpc_error

T = TypeVar("T")


@asynccontextmanager
async def channel(address: str, *, max_message_bytes: int = 4 * 1024 * 1024) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `host:port`, kept alive; made inside the running loop and closed with the block."""
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A server that comes back is found within two seconds.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_http_proxy", 0),
        # A name that stands for several servers: each is asked in turn.
        ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ]
    async with grpc.aio.insecure_channel(address, options=options) as opened:
        yield opened


def metadata() -> tuple[tuple[str, str], ...]:
    """Metadata that carries the current trace."""
    parent = tracing.traceparent()
    return (("traceparent", parent),) if parent else ()


async def call(method: Callable[..., Awaitable[T]], request: Any, *, timeout: float, attempts: int = 1) -> T:
    """Make a unary call with a deadline in seconds for all attempts together.

    Only UNAVAILABLE is tried again, after a short random pause: give more than one attempt only to what may come twice.
    Raises `ServiceError`.
    """
    deadline = time.monotonic() + timeout
    for attempt in range(1, attempts + 1):
        try:
            return await method(request, timeout=max(deadline - time.monotonic(), 0.001), metadata=metadata())
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            if refusal.status is not grpc.StatusCode.UNAVAILABLE or attempt == attempts:
                raise refusal from error
        await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - spreads load, keeps no secret
    raise AssertionError("attempts must be at least 1")


async def stream(method: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
    """Read a server's stream; leaving the iteration cancels the call. Raises `ServiceError`."""
    responses = method(request, metadata=metadata())
    try:
        async for response in responses:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        responses.cancel()


def is_unavailable(error: ServiceError) -> bool:
    """Whether the other side is away rather than unwilling."""
    return error.status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
