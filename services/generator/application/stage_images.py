"""Keep what was made: fetched, verified, staged; and found again by whoever comes after a crash."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from common.leased_work import Slot
from common.loops import pause_until
from common.memory import Memory, give_back
from common.tracing import span
from services.generator.application.claim import Interrupted
from services.generator.application.raw_results import RawResults, image_of
from services.generator.application.storage_retries import until_stored
from services.generator.domain import failures
from services.generator.domain.jobs import Call, StagedImage
from services.generator.domain.provider_results import FetchError, Generated, ImageSource, StageError
from services.generator.ports import ImageProvider, ImageReader, Inspected, Staging

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: An address that wants to be asked later is asked after this at the latest: it may be gone by then.
LONGEST_NAMED_PAUSE = 60.0
#: What comes from an address and is no image is fetched anew after these pauses: a cut download looks like that.
PAUSES_BEFORE_ANOTHER_FETCH = (0.2, 1.0)
#: Gives a call's answer once more: its images may have other addresses by now. None where it cannot be had.
Again = Callable[[], Awaitable[Generated | None]]


class ImageStager:
    """Stages images of one job, and adds them to `images` by index; `deadline` is on the monotonic clock."""

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
        """Take over what was staged of a call before; whether all of it is there, so that the call succeeded."""
        listing = partial(self._staging.of_call, self._job_id, call.id)
        found, count = await until_stored(listing, deadline=self._deadline, patient=False)
        own = {image.index: image for image in found}
        is_complete = count > 0 and len(found) == count
        if not is_complete and (mended := await self.raw.adopt(call, known={*own, *self._images})):
            own |= mended
            is_complete = own.keys() >= set(call.image_indexes)
        for index, image in own.items():
            self._images.setdefault(index, image)
        return is_complete

    async def keep(self, provider: ImageProvider, call: Call, answer: Generated, *, again: Again | None = None) -> None:
        """Stage what a call brought. One bad image does not take the good ones with it. Raises `StageError`.

        Where the addresses of images will not give them, `again` is asked for others. Images beyond those that were
        asked for stand in for what is none.
        """
        wanted = dict(zip(call.image_indexes, answer.images, strict=False))
        problems = await self._keep_all(provider, call, wanted)
        lost = {index for index, error in problems.items() if _is_lost(wanted[index], error)}
        if lost and again is not None and (anew := await again()) is not None:
            others = dict(zip(call.image_indexes, anew.images, strict=False))
            moved = {index: others[index] for index in lost & others.keys() if others[index].url != wanted[index].url}
            problems = {index: error for index, error in problems.items() if index not in moved}
            problems |= await self._keep_all(provider, call, moved)
        for spare in answer.images[len(call.image_indexes) :]:
            if (index := next((index for index, error in problems.items() if _is_no_image(error)), None)) is None:
                break
            del problems[index]
            problems |= await self._keep_all(provider, call, {index: spare})
        for error in problems.values():
            raise error
        if len(wanted) < len(call.image_indexes):
            raise failures.too_few_images(provider.name)

    async def _keep_all(
        self, provider: ImageProvider, call: Call, wanted: Mapping[int, ImageSource]
    ) -> dict[int, BaseException]:
        """Stage images by index; why some could not be."""
        problems: dict[int, BaseException] = {}
        # What is fetched waits for memory, so the answer must hold none any more by then.
        for is_elsewhere in (False, True):
            some = {index: one for index, one in wanted.items() if one.is_elsewhere is is_elsewhere}
            staging = (self._keep_one(provider, call, index, one, count=len(wanted)) for index, one in some.items())
            ends = await asyncio.gather(*staging, return_exceptions=True)
            give_back()
            self._images |= {end.index: end for end in ends if isinstance(end, StagedImage)}
            problems |= {index: end for index, end in zip(some, ends, strict=True) if isinstance(end, BaseException)}
        return problems

    async def _keep_one(
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
        data, seen = await self._verified(provider, call, index, source)
        image = image_of(self._job_id, call, index, source, seen, size=len(data))
        # What was paid for and cannot be had again is never thrown away.
        patient = not (provider.traits.harmless or provider.traits.resumable)
        put = partial(self._staging.put, image, data, count=count)
        with span("stage image", attributes={"job.id": self._job_id, "image.index": index}):
            return await until_stored(put, deadline=self._deadline, patient=patient)

    async def _verified(
        self, provider: ImageProvider, call: Call, index: int, source: ImageSource
    ) -> tuple[bytes, Inspected]:
        """The image's bytes and what they are. What is no image is fetched anew, and staged as it came in the end."""
        pauses = list(PAUSES_BEFORE_ANOTHER_FETCH if source.is_elsewhere else ())
        while True:
            data = b""
            try:
                data = await self._read(provider, source)
                return await self._reader.deliverable(data, provider=call.provider)
            except StageError as error:
                is_last = not pauses or time.monotonic() + pauses[0] > self._deadline()
                if error.reason != "INVALID_IMAGE" or is_last:
                    came = data or _in_hand(source)
                    if isinstance(error, FetchError):
                        came, error.received = error.received, b""
                    raise await self._with_raw(error, provider, call, index, came) from None
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
        """The image's bytes. An address that fails for now is asked again for the whole of the stage, and one that
        does not know the image for as long as it may yet appear.
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
                may_come = missing_since is None or now - missing_since < appears_within
                waits = max(pause, min(error.retry_after_seconds or 0.0, LONGEST_NAMED_PAUSE))
                if not may_come or now + waits > self._deadline():
                    raise
            await self._pause(provider, waits)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _is_image(self, data: bytes) -> bool:
        try:
            return bool(data) and bool(await self._reader.inspect(data))
        except StageError:
            return False

    async def _pause(self, provider: ImageProvider, seconds: float) -> None:
        """Wait; what whoever is next can have as well is left to them when we have to stop."""
        if not provider.traits.resumable:
            await asyncio.sleep(seconds)
        elif await pause_until(self._slot.ended, self._slot.stopping, seconds=seconds):
            raise Interrupted


def _in_hand(source: ImageSource) -> bytes:
    """An image as it came with the answer; nothing of one that is elsewhere."""
    if source.is_elsewhere:
        return b""
    return source.data if source.data is not None else (source.base64 or source.url or "").encode(errors="replace")


def _is_no_image(error: BaseException) -> bool:
    return isinstance(error, StageError) and error.reason == "INVALID_IMAGE"


def _is_lost(source: ImageSource, error: BaseException) -> bool:
    """Whether an image's address does not give it, and will not."""
    if not isinstance(error, StageError) or error.retryable:
        return False
    return source.is_elsewhere and error.reason in ("FETCH_FAILED", "INVALID_IMAGE")
