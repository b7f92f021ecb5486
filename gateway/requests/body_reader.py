"""Raw bodies: their type, their size, the time that they may take, and how much of them may lie in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.problems.problem import Problem, malformed

#: 40 MiB of pictures in base64, and the rest.
LARGEST_BODY = 56 * 1024 * 1024
LARGEST_TOGETHER = 4 * LARGEST_BODY
READ_SECONDS = 60.0
DISCARD_SECONDS = 5.0


class BodyReader:
    """Reads the bodies of all requests of the process, within one limit for all together."""

    def __init__(self, *, largest: int = LARGEST_BODY, together: int = LARGEST_TOGETHER) -> None:
        self._largest = largest
        self._together = together
        #: Bytes that lie in memory now.
        self.held = 0

    @asynccontextmanager
    async def read(
        self, request: Request, *, may_be_empty: bool = False, media_type: str = "application/json"
    ) -> AsyncIterator[bytes]:
        """The body; it counts as held until the block ends. Raises `Problem`."""
        raw = bytearray()
        try:
            await self._take(raw, request)
            if raw or not may_be_empty:
                _check_type(request, media_type)
            yield bytes(raw)
        finally:
            self.held -= len(raw)

    async def _take(self, raw: bytearray, request: Request) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._fill(raw, request)
        except TimeoutError:
            raise malformed(f"The body did not arrive within {READ_SECONDS:.0f} seconds.") from None
        except ClientDisconnect:
            raise malformed("The body ended before it was complete.") from None

    async def _fill(self, raw: bytearray, request: Request) -> None:
        stated = request.headers.get("content-length", "0")
        if len(stated) > 18 or (stated.isascii() and stated.isdigit() and int(stated) > self._largest):
            await self._refuse(request.stream())
        chunks = request.stream()
        async for chunk in chunks:
            if len(raw) + len(chunk) > self._largest:
                await self._refuse(chunks)
            if self.held + len(chunk) > self._together:
                raise Problem(
                    reason="SERVICE_UNAVAILABLE",
                    detail="Too many large requests are being read; ask again.",
                    retry_after_seconds=1,
                )
            raw += chunk
            self.held += len(chunk)

    async def _refuse(self, chunks: AsyncIterator[bytes]) -> None:
        """A client that is still sending hears an answer only when what it sends is taken."""
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                taken = 0
                async for chunk in chunks:
                    taken += len(chunk)
                    if taken > 2 * self._largest:
                        break
        except TimeoutError:
            pass
        raise Problem(reason="TOO_LARGE", detail=f"The body is larger than {self._largest:,} bytes.")


def _check_type(request: Request, media_type: str) -> None:
    stated = Message()
    stated["content-type"] = request.headers.get("content-type", "")
    charset = stated.get_param("charset", "utf-8")
    if stated.get_content_type() != media_type or str(charset).lower() not in ("utf-8", "utf8"):
        raise Problem(reason="UNSUPPORTED_MEDIA_TYPE", detail=f"Send Content-Type: {media_type}, in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(reason="UNSUPPORTED_MEDIA_TYPE", detail="Send the body without Content-Encoding.")
