"""An HTTP transport that passes requests to a function of the test."""

from collections.abc import Callable

import httpx


class HandlerTransport(httpx.AsyncBaseTransport):
    """Passes requests to a function and returns its responses; a compressed body stays compressed."""

    def __init__(self, respond: Callable[[httpx.Request], httpx.Response]) -> None:
        self._respond = respond

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Returns the response, whose body is not read yet."""
        await request.aread()
        response = self._respond(request)
        return httpx.Response(
            response.status_code, headers=response.headers.raw, stream=httpx.ByteStream(response.content)
        )
