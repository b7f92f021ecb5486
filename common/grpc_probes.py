"""Health checks from callers that need no identity: only a few of their messages are received at once."""

import asyncio
from typing import Any

import grpc
from grpc_status import rpc_status

from common.errors import ServiceError, to_status
from common.grpc_access import Authorizer

#: Messages that are received at once. A probe sends a few bytes, but each message may have the server's largest size.
MAX_RECEIVING = 2


class Probes:
    """Serves health checks; when `MAX_RECEIVING` messages are being received, a new one displaces the oldest.

    So a probe gets a response although other callers never finish sending, and their bytes take the memory of a few
    messages. With an authorizer, unknown callers are refused before their message is received.
    """

    def __init__(self, authorizer: Authorizer | None) -> None:
        self._authorizer = authorizer
        # In the order of arrival; the values mean nothing.
        self._receiving: dict[asyncio.Future[Any], None] = {}

    def wrap(self, handler: Any) -> Any:
        """Returns the handler of a unary method as a streaming handler that receives its message under the bound."""
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:

            async def once(_: Any, context: Any) -> Any:
                return await handler.unary_unary(await self._message(context), context)

            return grpc.stream_unary_rpc_method_handler(once, **coders)

        async def streamed(_: Any, context: Any) -> None:
            # The health library's handler writes to the context itself.
            await handler.unary_stream(await self._message(context), context)

        return grpc.stream_stream_rpc_method_handler(streamed, **coders)

    async def _message(self, context: Any) -> Any:
        if self._authorizer is not None:
            try:
                self._authorizer.identify(context)
            except ServiceError as error:
                await context.abort_with_status(rpc_status.to_status(to_status(error)))
        while len(self._receiving) >= MAX_RECEIVING:
            oldest = next(iter(self._receiving))
            del self._receiving[oldest]
            oldest.cancel()
        reading = asyncio.ensure_future(context.read())
        self._receiving[reading] = None
        try:
            message = await asyncio.shield(reading)
        except asyncio.CancelledError:
            if not reading.cancelled():
                reading.cancel()
                raise
            message = grpc.aio.EOF
        finally:
            self._receiving.pop(reading, None)
        if message is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The message did not arrive in time.")
        return message
