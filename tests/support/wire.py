"""A vendor in the test's hands: what it answers comes as from the wire, byte for byte."""

from collections.abc import Callable

import httpx


class Wire(httpx.AsyncBaseTransport):
    """Requests go to a function, and its answers back; a body that it packed stays packed."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, not read yet."""
        await request.aread()
        told = self._answer(request)
        return httpx.Response(told.status_code, headers=told.headers.raw, stream=httpx.ByteStream(told.content))
