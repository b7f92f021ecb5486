"""A vendor in the test's hands: what it answers comes as from the wire, byte for byte."""

from collections.abc import Callable

import httpx


class HandlerTransport(httpx.AsyncBaseTransport):
    """Requests go to a function, and its answers back; a body that it packed stays packed."""

    def __init__(self, respond: Callable[[httpx.Request], httpx.Response]) -> None:
        self._respond = respond

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, not read yet."""
        await request.aread()
        response = self._respond(request)
        return httpx.Response(
            response.status_code, headers=response.headers.raw, stream=httpx.ByteStream(response.content)
        )
