"""Health checks, also of callers that nobody knows: their messages are received a few at a time."""

import asyncio
from typing import Any

import grpc
from grpc_status import rpc_status

from common.errors import ServiceError, to_status
from common.grpc_access import Authorizer

#: Messages that are received together. A probe's has a few bytes; each may have as many as the server's largest.
MOST_RECEIVED = 2


class Probes:
    """Serves health: where too many messages are being received, the oldest of them is given up for the newest.

    So a probe is answered however many others hold theirs back, and what they sent takes no more memory than a few
    messages. With a guard, whoever it does not know is refused before that.
    """

    def __init__(self, authorizer: Authorizer | None) -> None:
        self._authorizer = authorizer
        self._received: dict[asyncio.Future[Any], None] = {}

    def wrap(self, handler: Any) -> Any:
        """The handler of a unary method, as one that receives its message in this way."""
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:

            async def once(_: Any, context: Any) -> Any:
                return await handler.unary_unary(await self._message(context), context)

            return grpc.stream_unary_rpc_method_handler(once, **coders)

        async def streamed(_: Any, context: Any) -> None:
            # The library's handler writes to the context itself.
            await handler.unary_stream(await self._message(context), context)

        return grpc.stream_stream_rpc_method_handler(streamed, **coders)

    async def _message(self, context: Any) -> Any:
        if self._authorizer is not None:
            try:
                self._authorizer.identify(context)
            except ServiceError as error:
                await context.abort_with_status(rpc_status.to_status(to_status(error)))
        while len(self._received) >= MOST_RECEIVED:
            oldest = next(iter(self._received))
            del self._received[oldest]
            oldest.cancel()
        reading = asyncio.ensure_future(context.read())
        self._received[reading] = None
        try:
            message = await asyncio.shield(reading)
        except asyncio.CancelledError:
            if not reading.cancelled():
                reading.cancel()
                raise
            message = grpc.aio.EOF
        finally:
            self._received.pop(reading, None)
        if message is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The message did not come in time.")
        return message
