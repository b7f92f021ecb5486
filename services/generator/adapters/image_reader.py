"""ImageReader: whatever a provider or a caller gave, as bytes that are known to be an image."""

import base64
import binascii
from concurrent.futures import Executor

from services.generator.adapters import inspection
from services.generator.adapters.guarded_fetch import GuardedFetch
from services.generator.domain.outcomes import ImageSource, StageError
from services.generator.ports import ImageProvider, Inspected

MOST_INPUT_BYTES = 20 * 1024 * 1024


class GuardedImageReader:
    """Fetches behind the guard, decodes in threads."""

    def __init__(self, fetch: GuardedFetch, executor: Executor) -> None:
        self._fetch = fetch
        self._executor = executor

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """The encoded image of a source."""
        if source.data is not None:
            return source.data
        if source.base64 is not None:
            return _decode(source.base64)
        if source.url is not None:
            return await self._fetch.fetch(
                source.url,
                trusted_host=provider.trusted_host,
                allow_private=provider.allow_private_addresses,
            )
        raise inspection.not_an_image()

    async def read_input(self, url: str) -> bytes:
        """An input image from the caller's address; what is wrong with it is the request's fault."""
        try:
            data = await self._fetch.fetch(url)
            await self.inspect(data)
        except StageError as error:
            error.stage = "PROCESSING"
            if not error.retryable and error.reason == "INVALID_IMAGE":
                error.reason, error.message = "INVALID_INPUT", "An input image is not a PNG, JPEG or WebP image."
            raise
        if len(data) > MOST_INPUT_BYTES:
            raise StageError(
                stage="PROCESSING",
                code="PERMANENT",
                reason="TOO_LARGE",
                message="An input image is larger than 20 MiB.",
                retryable=False,
            )
        return data

    async def inspect(self, data: bytes) -> Inspected:
        """Decode and measure."""
        return await inspection.inspect(data, executor=self._executor)


def _decode(text: str) -> bytes:
    bare = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:
        raise inspection.not_an_image() from error
