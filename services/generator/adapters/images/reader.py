"""ImageReader: whatever a provider or a caller gave, as bytes that are known to be an image."""

import asyncio
import binascii
import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from common.logs import event
from services.generator.adapters.images import errors, unread_responses
from services.generator.adapters.images.decoding.processes import INPUTS, RESULTS, DecodingProcesses
from services.generator.adapters.images.decoding.results import UPRIGHT, Look
from services.generator.adapters.images.guarded_fetch import GuardedFetch, UnknownHost, not_of_the_internet
from services.generator.adapters.images.metadata import without_metadata
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import ImageSource, StageError
from services.generator.ports import ImageProvider, Inspected, PreparedInput

MOST_INPUT_BYTES = 20 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
#: Marks of a C2PA manifest: a JUMBF box in JPEG's APP11 or PNG's caBX, or a RIFF chunk of WebP.
_C2PA = (b"caBX", b"jumbc2pa", b"C2PA")
#: Of an image whose own cannot be made: a plain grey.
_PLAIN_BLURHASH = "LSIY5?~qfQ~q~q%MfQ%MfQfQfQfQ"
_LOG = logging.getLogger(__name__)
_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")


class GuardedImageReader:
    """Fetches behind the guard, decodes in processes of its own.

    `stripped` are the names of providers whose images are delivered without metadata.
    """

    def __init__(
        self, fetch: GuardedFetch, decoder: DecodingProcesses, *, stripped: Collection[str] = frozenset()
    ) -> None:
        self._fetch = fetch
        self._decoder = decoder
        self._stripped = stripped

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

    async def prepare_input(self, data: bytes) -> PreparedInput:
        """An input image the right way up, without metadata; what is wrong with it is the request's fault.

        Its pixels are encoded anew only where it is to be turned, or cannot be taken apart.
        """
        with _inputs_fault():
            bare = await asyncio.to_thread(partial(without_metadata, data, keep_provenance=False))
            if bare is not None and (seen := await self._if_decodes(bare, instead_of=data)) is not None:
                prepared = bare if seen.turn == UPRIGHT else await self._decoder.rewritten(bare)
                return PreparedInput(data=prepared, lost_metadata=bare != data)
            await self._decoder.look(data, lane=INPUTS)
            return PreparedInput(data=await self._decoder.rewritten(data), lost_metadata=True)

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """A mask in a form, as a PNG; what is wrong with it is the request's fault."""
        with _inputs_fault():
            return await self._decoder.mask(data, form)

    async def inspect(self, data: bytes) -> Inspected:
        """Decode and measure."""
        seen = await self._decoder.look(data, lane=RESULTS)
        if seen.blurhash is None:
            event(_LOG, logging.WARNING, "image.without_preview", content_type=seen.content_type)
        sha256, c2pa = await asyncio.to_thread(_of_bytes, data)
        return Inspected(
            content_type=seen.content_type,
            width=seen.width,
            height=seen.height,
            sha256=sha256,
            blurhash=seen.blurhash or _PLAIN_BLURHASH,
            c2pa=c2pa,
        )

    async def deliverable(self, data: bytes, *, provider: str) -> tuple[bytes, Inspected]:
        """An image of a provider as it is delivered, and what that is: without metadata where its entry says so.

        What cannot be taken apart, or would be another image without them, stays as it is, and the log says so.
        """
        seen = await self.inspect(data)
        if provider not in self._stripped:
            return data, seen
        bare = await asyncio.to_thread(partial(without_metadata, data, keep_provenance=True))
        if bare == data:
            return data, seen
        now = None if bare is None else await self._if_image(bare)
        if bare is not None and now is not None and replace(now, sha256=seen.sha256, c2pa=seen.c2pa) == seen:
            return bare, now
        event(_LOG, logging.WARNING, "image.metadata_kept", provider=provider, content_type=seen.content_type)
        return data, seen

    async def found_in(self, body: bytes, *, limit: int) -> Sequence[ImageSource]:
        """Images that decode, of an answer that no adapter could read: the last ones, at most so many."""
        candidates = await asyncio.to_thread(unread_responses.images_in, body, most=limit)
        found = [one if one.is_elsewhere else await self._checked(one) for one in candidates]
        return [one for one in found if one is not None]

    def may_hold_images(self, body: bytes) -> bool:
        """Whether there are traces of images in an answer."""
        return unread_responses.may_hold_images(body)

    async def _if_decodes(self, bare: bytes, *, instead_of: bytes) -> Look | None:
        try:
            return await self._decoder.look(bare, lane=INPUTS)
        except StageError as error:
            if error.reason == "INVALID_IMAGE" and bare != instead_of:
                return None
            raise

    async def _if_image(self, data: bytes) -> Inspected | None:
        try:
            return await self.inspect(data)
        except StageError as error:
            if error.retryable:
                raise
            return None

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
            return await asyncio.to_thread(_decoded, text)
        except (binascii.Error, ValueError) as error:
            raise errors.not_an_image() from error


@contextmanager
def _inputs_fault() -> Iterator[None]:
    """A failure to decode is one of the input."""
    try:
        yield
    except StageError as error:
        error.stage = "PROCESSING"
        if error.reason == "INVALID_IMAGE":
            error.reason = "INVALID_INPUT"
            error.message = "An input image is not a PNG, JPEG or WebP image that decodes within bounds."
        raise


def _of_bytes(data: bytes) -> tuple[str, bool]:
    """The digest, and whether there are marks of where it comes from."""
    return hashlib.sha256(data).hexdigest(), any(mark in data for mark in _C2PA)


def _decoded(text: str) -> bytes:
    bare = text.partition(",")[2] if text.startswith("data:") else text
    if len(bare) > 4 * (MOST_BYTES // 3 + 1):
        raise errors.too_large(MOST_BYTES)
    try:
        # As `base64.b64decode` does it, which makes bytes of the text first.
        return binascii.a2b_base64(bare, strict_mode=True)
    except binascii.Error:
        # In lines, in the alphabet of addresses, or without padding: as some vendors write it.
        plain = bare.encode("ascii").translate(_ONE_ALPHABET, b" \t\r\n").rstrip(b"=")
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise errors.too_large(MOST_BYTES)
    return data
