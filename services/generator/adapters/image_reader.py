"""ImageReader: whatever a provider or a caller gave, as bytes that are known to be an image."""

import asyncio
import binascii
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from services.generator.adapters import decoding, inspection, orientation, unread_answers
from services.generator.adapters.guarded_fetch import GuardedFetch, UnknownHost, not_of_the_internet
from services.generator.domain.outcomes import ImageSource, StageError
from services.generator.ports import ImageProvider, Inspected

MOST_INPUT_BYTES = 20 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")


class GuardedImageReader:
    """Fetches behind the guard, decodes in threads."""

    def __init__(self, fetch: GuardedFetch, executor: Executor) -> None:
        self._fetch = fetch
        self._executor = executor

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """The encoded image of a source."""
        if source.data is not None:
            return _bounded(source.data)
        text = source.base64 if source.base64 is not None else source.url or ""
        if not source.is_elsewhere:
            return await self._decode(text)
        return await self._fetch.fetch(
            text,
            trusted_host=provider.trusted_host,
            allow_private=provider.allow_private_addresses,
            most_bytes=MOST_BYTES,
            credential_for=provider.credential_for,
        )

    async def read_input(self, url: str) -> bytes:
        """An input image from the caller's address; a host that is unknown and one that is inside are told alike."""
        try:
            try:
                return await self._fetch.fetch(url, most_bytes=MOST_INPUT_BYTES)
            except UnknownHost as error:
                raise not_of_the_internet() from error
        except StageError as error:
            error.stage = "PROCESSING"
            raise

    async def prepare_input(self, data: bytes) -> bytes:
        """An input image the right way up; what is wrong with it is the request's fault."""
        try:
            await self.inspect(data)
            return await orientation.upright(data, executor=self._executor)
        except StageError as error:
            error.stage = "PROCESSING"
            if error.reason == "INVALID_IMAGE":
                error.reason, error.message = "INVALID_INPUT", "An input image is not a PNG, JPEG or WebP image."
            raise

    async def inspect(self, data: bytes) -> Inspected:
        """Decode and measure."""
        return await inspection.inspect(data, executor=self._executor)

    async def found_in(self, body: bytes, *, most: int) -> Sequence[ImageSource]:
        """Images that decode, of an answer that no adapter could read: the last ones, at most so many."""
        loop = asyncio.get_running_loop()
        candidates = await loop.run_in_executor(self._executor, partial(unread_answers.images_in, body, most=most))
        found = [one if one.is_elsewhere else await self._checked(one) for one in candidates]
        return [one for one in found if one is not None]

    def may_hold_images(self, body: bytes) -> bool:
        """Whether there are traces of images in an answer."""
        return unread_answers.may_hold_images(body)

    async def _checked(self, source: ImageSource) -> ImageSource | None:
        """An image by its bytes, if it is one that decodes."""
        try:
            data = _bounded(source.data) if source.data is not None else await self._decode(source.base64 or "")
            await self.inspect(data)
        except StageError:
            return None
        return ImageSource(data=data)

    async def _decode(self, text: str) -> bytes:
        """The bytes of base64, bare or as a data URL."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, _decoded, text)
        except (binascii.Error, ValueError) as error:
            raise decoding.not_an_image() from error


def _decoded(text: str) -> bytes:
    bare = text.partition(",")[2] if text.startswith("data:") else text
    if len(bare) > 4 * (MOST_BYTES // 3 + 1):
        raise decoding.too_large(MOST_BYTES)
    try:
        # As `base64.b64decode` does it, which makes bytes of the text first.
        return binascii.a2b_base64(bare, strict_mode=True)
    except binascii.Error:
        # In lines, in the alphabet of addresses, or without padding: as some vendors write it.
        plain = bare.encode("ascii").translate(_ONE_ALPHABET, b" \t\r\n").rstrip(b"=")
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise decoding.too_large(MOST_BYTES)
    return data
