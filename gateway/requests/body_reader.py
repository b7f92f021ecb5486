"""Reads request bodies, with limits on their type, size, duration and the memory that all of them take together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message

from calotype.error_reasons import Reason
from calotype.size_limits import MAX_BODY_BYTES
from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.problems.problem import Problem, malformed

#: Bytes of all bodies in memory at the same time.
MEMORY_LIMIT = 4 * MAX_BODY_BYTES
READ_SECONDS = 60.0
DISCARD_SECONDS = 5.0


class BodyReader:
    """Reads the bodies of all requests of this process, within one memory limit."""

    def __init__(self, *, body_limit: int = MAX_BODY_BYTES, memory_limit: int = MEMORY_LIMIT) -> None:
        self._body_limit = body_limit
        self._memory_limit = memory_limit
        #: Bytes of bodies in memory now.
        self.held = 0

    @asynccontextmanager
    async def read(
        self, request: Request, *, may_be_empty: bool = False, media_type: str = "application/json"
    ) -> AsyncIterator[bytes]:
        """Yields the body, which counts towards the memory limit until the block ends.

        Raises `Problem` MALFORMED, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE or SERVICE_UNAVAILABLE.
        """
        raw = bytearray()
        try:
            await self._receive(raw, request)
            if raw or not may_be_empty:
                _check_type(request, media_type)
            yield bytes(raw)
        finally:
            self.held -= len(raw)

    async def _receive(self, raw: bytearray, request: Request) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._append_chunks(raw, request)
        except TimeoutError:
            raise malformed(f"The body did not arrive within {READ_SECONDS:.0f} seconds.") from None
        except ClientDisconnect:
            raise malformed("The connection was closed before the body was complete.") from None

    async def _append_chunks(self, raw: bytearray, request: Request) -> None:
        stated_size = request.headers.get("content-length", "0")
        is_number = stated_size.isascii() and stated_size.isdigit()
        if len(stated_size) > 18 or (is_number and int(stated_size) > self._body_limit):
            await self._reject_as_too_large(request.stream())
        chunks = request.stream()
        async for chunk in chunks:
            if len(raw) + len(chunk) > self._body_limit:
                await self._reject_as_too_large(chunks)
            if self.held + len(chunk) > self._memory_limit:
                raise Problem(
                    reason=Reason.SERVICE_UNAVAILABLE,
                    detail="Too many large requests are being read right now. Try again.",
                    retry_after_seconds=1,
                )
            raw += chunk
            self.held += len(chunk)

    async def _reject_as_too_large(self, chunks: AsyncIterator[bytes]) -> None:
        """Raises TOO_LARGE after discarding some of the body: a client that still sends does not read a response."""
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                discarded = 0
                async for chunk in chunks:
                    discarded += len(chunk)
                    if discarded > 2 * self._body_limit:
                        break
        except TimeoutError:
            pass
        raise Problem(reason=Reason.TOO_LARGE, detail=f"The body is larger than {self._body_limit:,} bytes.")


def _check_type(request: Request, media_type: str) -> None:
    stated = Message()
    stated["content-type"] = request.headers.get("content-type", "")
    charset = stated.get_param("charset", "utf-8")
    if stated.get_content_type() != media_type or str(charset).lower() not in ("utf-8", "utf8"):
        raise Problem(
            reason=Reason.UNSUPPORTED_MEDIA_TYPE, detail=f"Send the header Content-Type: {media_type}, and UTF-8 text."
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(
            reason=Reason.UNSUPPORTED_MEDIA_TYPE,
            detail="Send the body uncompressed, without the header Content-Encoding.",
        )
