"""Downloads the images of finished jobs from their public URLs, for responses in base64."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2

from gateway.problems.problem import Problem

#: Bytes of images in memory for all requests together.
MEMORY_LIMIT = 128 * 1024 * 1024
READ_SECONDS = 60.0


class PublicImageReader:
    """Downloads images of jobs without credentials; checks size and digest, and limits the memory that they take."""

    def __init__(self) -> None:
        #: Bytes of images in memory now, or about to be.
        self.held = 0
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(15.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            headers={"User-Agent": "calotype", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def read(self, artifacts: Sequence[job_pb2.PublicArtifact]) -> AsyncIterator[list[bytes]]:
        """Yields the contents of the images, which count towards the memory limit until the block ends.

        Raises `Problem` TOO_LARGE or STORAGE_UNAVAILABLE.
        """
        size = sum(artifact.image.size_bytes for artifact in artifacts)
        if size > MEMORY_LIMIT:
            raise Problem(
                reason=Reason.TOO_LARGE,
                detail="The images are too large for base64. Send `response_format: url` instead.",
            )
        if self.held + size > MEMORY_LIMIT:
            raise _unavailable("Too many images are being read right now. Try again.")
        self.held += size
        try:
            yield await self._download_all(artifacts)
        finally:
            self.held -= size

    async def _download_all(self, artifacts: Sequence[job_pb2.PublicArtifact]) -> list[bytes]:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return [await self._download(artifact) for artifact in artifacts]
        except (TimeoutError, httpx.HTTPError) as error:
            raise _unavailable(
                "The images are made, but cannot be downloaded from the storage right now. Try again."
            ) from error

    async def _download(self, artifact: job_pb2.PublicArtifact) -> bytes:
        data = bytearray()
        async with self._client.stream("GET", artifact.url) as response:
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > artifact.image.size_bytes:
                    break
        if hashlib.sha256(data).hexdigest() != artifact.image.sha256:
            raise _unavailable(f"{artifact.url} does not serve the image that was stored there. Tell the operator.")
        return bytes(data)


def _unavailable(detail: str) -> Problem:
    return Problem(reason=Reason.STORAGE_UNAVAILABLE, detail=detail, retry_after_seconds=2)
