"""Stages the images of provider calls: fetches, verifies and stores them, and finds them again after a crash."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from calotype.error_reasons import Reason

from common.leased_work import Slot
from common.loops import pause_until
from common.memory import Memory, give_back
from common.telemetry import registry
from common.tracing import Attributes, span
from services.generator.application.claim import Interrupted
from services.generator.application.raw_results import RawResults, image_of
from services.generator.application.storage_retries import until_stored
from services.generator.domain import failures
from services.generator.domain.jobs import Call, StagedImage
from services.generator.domain.provider_results import FetchError, Generated, ImageSource, StageError
from services.generator.ports import ImageProvider, ImageReader, Inspected, Staging

#: First and longest pause in seconds between two fetches of a URL.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Longest pause in seconds that a server may request (Retry-After): after a longer one the image may be gone.
LONGEST_NAMED_PAUSE = 60.0
#: Pauses in seconds before a URL whose content is no image is fetched again: it may be a truncated download.
PAUSES_BEFORE_ANOTHER_FETCH = (0.2, 1.0)
#: Fetches the result of a call again, as its images may have other URLs by now; returns None without a result.
Again = Callable[[], Awaitable[Generated | None]]


class ImageStager:
    """Stages images of one job, and adds them to `images` by index.

    `deadline` returns a moment on the monotonic clock.
    """

    def __init__(
        self,
        job_id: str,
        slot: Slot[Any],
        *,
        deadline: Callable[[], float],
        images: dict[int, StagedImage],
        staging: Staging,
        reader: ImageReader,
        memory: Memory,
    ) -> None:
        self._job_id = job_id
        self._slot = slot
        self._deadline = deadline
        self._images = images
        self._staging = staging
        self._reader = reader
        self._memory = memory
        self.raw = RawResults(job_id, deadline=deadline, staging=staging, reader=reader, memory=memory)

    async def adopt(self, call: Call) -> bool:
        """Adds the images of a call that were staged before; returns whether all are there: the call succeeded."""
        listing = partial(self._staging.of_call, self._job_id, call.id)
        staged, count = await until_stored(listing, deadline=self._deadline, patient=False)
        images = {image.index: image for image in staged}
        is_complete = count > 0 and len(staged) == count
        if not is_complete and (repaired := await self.raw.adopt(call, staged={*images, *self._images})):
            images |= repaired
            is_complete = images.keys() >= set(call.image_indexes)
        for index, image in images.items():
            self._images.setdefault(index, image)
        return is_complete

    async def keep(
        self, provider: ImageProvider, call: Call, generated: Generated, *, again: Again | None = None
    ) -> None:
        """Stages the images of a call; a bad image does not affect the good ones. Raises `StageError`.

        When URLs fail for good, `again` fetches the result once more, for other URLs. Surplus images replace results
        that are no images.
        """
        sources = dict(zip(call.image_indexes, generated.images, strict=False))
        errors = await self._keep_all(provider, call, sources)
        lost = {index for index, error in errors.items() if _is_lost(sources[index], error)}
        if lost and again is not None and (latest := await again()) is not None:
            others = dict(zip(call.image_indexes, latest.images, strict=False))
            moved = {index: others[index] for index in lost & others.keys() if others[index].url != sources[index].url}
            errors = {index: error for index, error in errors.items() if index not in moved}
            errors |= await self._keep_all(provider, call, moved)
        for surplus in generated.images[len(call.image_indexes) :]:
            if (index := next((index for index, error in errors.items() if _is_no_image(error)), None)) is None:
                break
            del errors[index]
            errors |= await self._keep_all(provider, call, {index: surplus})
        for error in errors.values():
            raise error
        if len(sources) < len(call.image_indexes):
            raise failures.too_few_images(provider.name)

    async def _keep_all(
        self, provider: ImageProvider, call: Call, sources: Mapping[int, ImageSource]
    ) -> dict[int, BaseException]:
        """Stages images; returns the errors by index."""
        errors: dict[int, BaseException] = {}
        # Fetches wait for memory, so the response must give its memory back before they begin.
        for is_elsewhere in (False, True):
            part = {index: source for index, source in sources.items() if source.is_elsewhere is is_elsewhere}
            staging = (self._keep_image(provider, call, *item, count=len(sources)) for item in part.items())
            results = await asyncio.gather(*staging, return_exceptions=True)
            give_back()
            self._images |= {result.index: result for result in results if isinstance(result, StagedImage)}
            errors |= {
                index: result for index, result in zip(part, results, strict=True) if isinstance(result, BaseException)
            }
        return errors

    async def _keep_image(
        self, provider: ImageProvider, call: Call, index: int, source: ImageSource, *, count: int
    ) -> StagedImage | StageError:
        with self._memory.share(until=self._deadline()):
            try:
                return await self._stage(provider, call, index, source, count=count)
            except StageError as error:
                return error.forget()

    async def _stage(
        self, provider: ImageProvider, call: Call, index: int, source: ImageSource, *, count: int
    ) -> StagedImage:
        attributes: Attributes = {registry.JOB_ID: self._job_id, registry.CALL_ID: call.id, registry.IMAGE_INDEX: index}
        with span(registry.STAGE_IMAGE, attributes, interruptions=(Interrupted,)):
            data, inspected = await self._verified(provider, call, index, source)
            image = image_of(self._job_id, call, index, source, inspected, size=len(data))
            # A paid image that cannot be fetched again must not be lost, so even a refusing store is retried.
            patient = not (provider.traits.harmless or provider.traits.resumable)
            put = partial(self._staging.put, image, data, count=count)
            return await until_stored(put, deadline=self._deadline, patient=patient)

    async def _verified(
        self, provider: ImageProvider, call: Call, index: int, source: ImageSource
    ) -> tuple[bytes, Inspected]:
        """Returns the image's bytes and properties.

        Data that is no image is fetched again, and finally stored unchanged. Raises `StageError`.
        """
        pauses = list(PAUSES_BEFORE_ANOTHER_FETCH if source.is_elsewhere else ())
        while True:
            data = b""
            try:
                data = await self._read(provider, source)
                return await self._reader.deliverable(data, provider=call.provider)
            except StageError as error:
                is_last = not pauses or time.monotonic() + pauses[0] > self._deadline()
                if error.reason != Reason.INVALID_IMAGE or is_last:
                    received = data or _content(source)
                    if isinstance(error, FetchError):
                        received, error.received = error.received, b""
                    raise await self._with_raw(error, provider, call, index, received) from None
            del data
            await self._pause(provider, pauses.pop(0))

    async def _with_raw(
        self, error: StageError, provider: ImageProvider, call: Call, index: int, data: bytes
    ) -> StageError:
        if data:
            name = await self.raw.keep(provider, call, str(index), data)
            return failures.with_raw(error, name=name)
        return error

    async def _read(self, provider: ImageProvider, source: ImageSource) -> bytes:
        """Returns the image's bytes.

        Retries a temporary failure until the deadline, and a missing image for `appears_within_seconds`.
        """
        pause, missing_since = FIRST_PAUSE, None
        while True:
            try:
                return await self._reader.read(source, provider=provider)
            except StageError as error:
                if isinstance(error, FetchError) and await self._is_image(error.received):
                    return error.received
                now = time.monotonic()
                appears_within = error.appears_within_seconds if isinstance(error, FetchError) else 0.0
                missing_since = None if error.retryable else (missing_since or now)
                may_appear = missing_since is None or now - missing_since < appears_within
                seconds = max(pause, min(error.retry_after_seconds or 0.0, LONGEST_NAMED_PAUSE))
                if not may_appear or now + seconds > self._deadline():
                    raise
            await self._pause(provider, seconds)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _is_image(self, data: bytes) -> bool:
        try:
            return bool(data) and bool(await self._reader.inspect(data))
        except StageError:
            return False

    async def _pause(self, provider: ImageProvider, seconds: float) -> None:
        """Waits; raises `Interrupted` at the end of the lease or process if the next claim can fetch the result."""
        if not provider.traits.resumable:
            await asyncio.sleep(seconds)
        elif await pause_until(self._slot.ended, self._slot.stopping, seconds=seconds):
            raise Interrupted


def _content(source: ImageSource) -> bytes:
    """Returns the image as the response contained it, undecoded; empty when it must be fetched from a URL."""
    if source.is_elsewhere:
        return b""
    return source.data if source.data is not None else (source.base64 or source.url or "").encode(errors="replace")


def _is_no_image(error: BaseException) -> bool:
    return isinstance(error, StageError) and error.reason == Reason.INVALID_IMAGE


def _is_lost(source: ImageSource, error: BaseException) -> bool:
    """Returns whether the image's URL will never return the image."""
    if not isinstance(error, StageError) or error.retryable:
        return False
    return source.is_elsewhere and error.reason in (Reason.FETCH_FAILED, Reason.INVALID_IMAGE)
