"""Pictures of finished jobs, read back from where anybody may read them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from calotype.job.v1 import job_pb2

from gateway.problems.problem import Problem

#: Bytes of pictures that may lie in memory for all requests together.
MOST_TOGETHER = 128 * 1024 * 1024
READ_SECONDS = 60.0


class PictureReader:
    """Reads public pictures without a credential: only those of jobs, as large as the job says, and checked."""

    def __init__(self, *, together: int = MOST_TOGETHER) -> None:
        self._together = together
        #: Bytes that are reserved now.
        self.held = 0
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(15.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            headers={"User-Agent": "calotype", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def read(self, artifacts: Sequence[job_pb2.PublicArtifact]) -> AsyncIterator[list[bytes]]:
        """The pictures; they count as held until the block ends. Raises `Problem`."""
        size = sum(one.image.size_bytes for one in artifacts)
        if size > self._together:
            raise Problem(reason="TOO_LARGE", detail="The pictures are too large for base64; ask for urls.")
        if self.held + size > self._together:
            raise _away("Too many pictures are being read; ask again.")
        self.held += size
        try:
            yield await self._all(artifacts)
        finally:
            self.held -= size

    async def _all(self, artifacts: Sequence[job_pb2.PublicArtifact]) -> list[bytes]:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return [await self._one(artifact) for artifact in artifacts]
        except (TimeoutError, httpx.HTTPError) as error:
            raise _away("The pictures are made, but cannot be read now; ask again.") from error

    async def _one(self, artifact: job_pb2.PublicArtifact) -> bytes:
        stated = artifact.image
        data = bytearray()
        async with self._client.stream("GET", artifact.url) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_raw():
                data += part
                if len(data) > stated.size_bytes:
                    break
        if hashlib.sha256(data).hexdigest() != stated.sha256:
            raise _away(f"{artifact.url} does not serve the picture that was stored there; ask for its url.")
        return bytes(data)


def _away(detail: str) -> Problem:
    return Problem(reason="STORAGE_UNAVAILABLE", detail=detail, retry_after_seconds=2)
