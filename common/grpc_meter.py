"""Measures gRPC calls on both sides, by method and status."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import grpc

from common.telemetry import metrics, registry

_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


@contextmanager
def measured(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[None]:
    """Measures a call at the server; enter it inside the call's span, which becomes the exemplar."""
    began_at, status = perf_counter(), ""
    try:
        yield
    except asyncio.CancelledError:
        status = "CANCELLED"
        raise
    finally:
        # A number or an enum, by how the status was set; None if none was.
        code: Any = context.code()
        code = code or 0
        status = status or (code.name if isinstance(code, grpc.StatusCode) else _STATUS_NAMES.get(code, "UNKNOWN"))
        metrics.observe(registry.RPC_SERVER_SECONDS, perf_counter() - began_at, method.lstrip("/"), status)


class UnaryMeter(grpc.aio.UnaryUnaryClientInterceptor):
    """Measures each unary call of a client."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Makes the call, and waits for its end."""
        began_at, status = perf_counter(), "CANCELLED"
        try:
            answer = await continuation(client_call_details, request)
            status = (await answer.code()).name
        finally:
            name = client_call_details.method
            method = (name.decode() if isinstance(name, bytes) else name).lstrip("/")
            metrics.observe(registry.RPC_CLIENT_SECONDS, perf_counter() - began_at, method, status)
        return answer
