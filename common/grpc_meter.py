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
        status = status or (
            code.name if isinstance(code, grpc.StatusCode) else _STATUS_NAMES.get(code, grpc.StatusCode.UNKNOWN.name)
        )
        metrics.observe(registry.RPC_SERVER_SECONDS, perf_counter() - began_at, method.lstrip("/"), status)


@contextmanager
def sent(method: Any) -> Iterator[None]:
    """Measures a call at the client; `method` is the stub's callable.

    An interceptor would begin the call one turn of the event loop later, and its deadline with it.
    """
    began_at, status = perf_counter(), "CANCELLED"
    try:
        yield
        status = "OK"
    except grpc.aio.AioRpcError as error:
        status = error.code().name
        raise
    finally:
        # The stub keeps the name in an attribute that is not public; other callables have none.
        name = getattr(method, "_method", b"/other")
        full_name = (name.decode() if isinstance(name, bytes) else str(name)).lstrip("/")
        metrics.observe(registry.RPC_CLIENT_SECONDS, perf_counter() - began_at, full_name, status)
