"""`ImageReader` port: fetches, decodes and checks the images of providers and callers."""

import asyncio
import binascii
import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from calotype.error_reasons import Reason
from calotype.size_limits import MAX_IMAGE_BYTES, MAX_INPUT_BYTES

from common.logs import event
from services.generator.adapters.images import errors, unread_responses
from services.generator.adapters.images.decoding.processes import INPUTS, RESULTS, DecodingProcesses
from services.generator.adapters.images.decoding.results import UPRIGHT, Inspection
from services.generator.adapters.images.guarded_fetch import GuardedFetch, UnknownHost, not_of_the_internet
from services.generator.adapters.images.metadata import without_metadata
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import ImageSource, StageError
from services.generator.ports import ImageProvider, Inspected, PreparedInput

#: Marks of a C2PA manifest: a JUMBF box in JPEG's APP11 or PNG's caBX, or a RIFF chunk of WebP.
_C2PA = (b"caBX", b"jumbc2pa", b"C2PA")
#: BlurHash of a plain grey, for an image whose own cannot be computed.
_PLAIN_BLURHASH = "LSIY5?~qfQ~q~q%MfQ%MfQfQfQfQ"
_LOG = logging.getLogger(__name__)
_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")
#: Bytes, or characters of base64, that are read in the event loop: a fraction of a millisecond, less than the way to a
#: thread and back. Longer ones would keep leases from being renewed.
MAX_INLINE = 256 * 1024


class GuardedImageReader:
    """Fetches URLs with `GuardedFetch`, and decodes images in child processes.

    `stripped` are the names of providers whose images are delivered without metadata.
    """

    def __init__(
        self, fetch: GuardedFetch, decoder: DecodingProcesses, *, stripped: Collection[str] = frozenset()
    ) -> None:
        self._fetch = fetch
        self._decoder = decoder
        self._stripped = stripped

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """Returns the encoded image of a source."""
        if source.data is not None:
            return _bounded(source.data)
        text = source.base64 if source.base64 is not None else source.url or ""
        if not source.is_elsewhere:
            return await self._decode(text)
        return await self._fetch.fetch(
            text,
            trusted_host=provider.trusted_host,
            allow_private=provider.allow_private_addresses,
            max_bytes=MAX_IMAGE_BYTES,
            credential_for=provider.credential_for,
        )

    async def read_input(self, url: str) -> bytes:
        """Fetches an input image from the caller's URL; the error does not reveal whether an internal host exists."""
        try:
            try:
                return await self._fetch.fetch(url, max_bytes=MAX_INPUT_BYTES)
            except UnknownHost as error:
                raise not_of_the_internet() from error
        except StageError as error:
            error.stage = "PROCESSING"
            raise

    async def prepare_input(self, data: bytes) -> PreparedInput:
        """Returns an input image upright and without metadata; reports an invalid one as INVALID_INPUT.

        Encodes its pixels again only if it must be rotated, or its container cannot be parsed.
        """
        with _inputs_fault():
            bare = await asyncio.to_thread(partial(without_metadata, data, keep_provenance=False))
            if bare is not None and (inspection := await self._if_decodes(bare, instead_of=data)) is not None:
                prepared = bare if inspection.turn == UPRIGHT else await self._decoder.rewritten(bare)
                return PreparedInput(data=prepared, lost_metadata=bare != data)
            await self._decoder.inspect(data, lane=INPUTS)
            return PreparedInput(data=await self._decoder.rewritten(data), lost_metadata=True)

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """Returns a mask in the wanted form, as a PNG; reports an invalid one as INVALID_INPUT."""
        with _inputs_fault():
            return await self._decoder.mask(data, form)

    async def inspect(self, data: bytes) -> Inspected:
        """Decodes an image and returns its properties."""
        inspection = await self._decoder.inspect(data, lane=RESULTS)
        if inspection.blurhash is None:
            event(_LOG, logging.WARNING, "preview.not_made", content_type=inspection.content_type)
        is_short = len(data) <= MAX_INLINE
        sha256, c2pa = _digest_and_c2pa(data) if is_short else await asyncio.to_thread(_digest_and_c2pa, data)
        return Inspected(
            content_type=inspection.content_type,
            width=inspection.width,
            height=inspection.height,
            sha256=sha256,
            blurhash=inspection.blurhash or _PLAIN_BLURHASH,
            c2pa=c2pa,
        )

    async def deliverable(self, data: bytes, *, provider: str) -> tuple[bytes, Inspected]:
        """Returns a provider's image as it is delivered, and its properties; without metadata if so configured.

        An image whose container cannot be parsed, or that looks different without metadata, stays unchanged, which is
        logged.
        """
        inspected = await self.inspect(data)
        if provider not in self._stripped:
            return data, inspected
        bare = await asyncio.to_thread(partial(without_metadata, data, keep_provenance=True))
        if bare == data:
            return data, inspected
        stripped = None if bare is None else await self._if_image(bare)
        same = None if stripped is None else replace(stripped, sha256=inspected.sha256, c2pa=inspected.c2pa)
        if bare is not None and stripped is not None and same == inspected:
            return bare, stripped
        event(_LOG, logging.WARNING, "image.metadata_kept", provider=provider, content_type=inspected.content_type)
        return data, inspected

    async def images_in(self, body: bytes, *, limit: int) -> Sequence[ImageSource]:
        """Returns the decodable images in a response that its adapter could not read: the last `limit` of them."""
        candidates = await asyncio.to_thread(unread_responses.images_in, body, limit=limit)
        images = [source if source.is_elsewhere else await self._checked(source) for source in candidates]
        return [image for image in images if image is not None]

    def may_hold_images(self, body: bytes) -> bool:
        """Returns whether a response contains traces of images."""
        return unread_responses.may_hold_images(body)

    async def _if_decodes(self, bare: bytes, *, instead_of: bytes) -> Inspection | None:
        try:
            return await self._decoder.inspect(bare, lane=INPUTS)
        except StageError as error:
            if error.reason == Reason.INVALID_IMAGE and bare != instead_of:
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
        """Returns the image as bytes; None when it does not decode."""
        try:
            data = _bounded(source.data) if source.data is not None else await self._decode(source.base64 or "")
            await self.inspect(data)
        except StageError:
            return None
        return ImageSource(data=data)

    async def _decode(self, text: str) -> bytes:
        """Returns the bytes of a base64 text, bare or in a data URL."""
        try:
            return _decoded(text) if len(text) <= MAX_INLINE else await asyncio.to_thread(_decoded, text)
        except (binascii.Error, ValueError) as error:
            raise errors.not_an_image() from error


@contextmanager
def _inputs_fault() -> Iterator[None]:
    """Turns decoding errors in the block into errors of the request, stage PROCESSING."""
    try:
        yield
    except StageError as error:
        error.stage = "PROCESSING"
        if error.reason == Reason.INVALID_IMAGE:
            error.reason = Reason.INVALID_INPUT
            error.message = "An input image is not a PNG, JPEG or WebP image that decodes within bounds."
        raise


def _digest_and_c2pa(data: bytes) -> tuple[str, bool]:
    """Returns the SHA-256 in hex, and whether the image has marks of a C2PA manifest."""
    return hashlib.sha256(data).hexdigest(), any(mark in data for mark in _C2PA)


def _decoded(text: str) -> bytes:
    bare = text.partition(",")[2] if text.startswith("data:") else text
    if len(bare) > 4 * (MAX_IMAGE_BYTES // 3 + 1):
        raise errors.too_large(MAX_IMAGE_BYTES)
    try:
        # Like `base64.b64decode`, which would first copy the text to bytes.
        return binascii.a2b_base64(bare, strict_mode=True)
    except binascii.Error:
        # Some providers write it in lines, in the URL-safe alphabet, or without padding.
        plain = bare.encode("ascii").translate(_ONE_ALPHABET, b" \t\r\n").rstrip(b"=")
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_IMAGE_BYTES:
        raise errors.too_large(MAX_IMAGE_BYTES)
    return data
