"""Keep what was made: fetched, verified, staged; and found again by whoever comes after a crash."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from common.leased_work import Slot
from common.loops import pause_until
from common.memory import Memory, give_back
from common.object_store import ObjectConflict, ObjectMissing, StorageDenied, StorageUnavailable
from common.tracing import span
from services.generator.application.claim import Interrupted
from services.generator.domain import failures
from services.generator.domain.outcomes import Generated, ImageSource, StageError
from services.generator.domain.work import Call, StagedImage
from services.generator.ports import ImageProvider, ImageReader, Staging

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


class Keeper:
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

    async def adopt(self, call: Call) -> bool:
        """Take over what was staged of a call before; whether all of it is there, so that the call succeeded."""
        found, count = await self._with_storage(partial(self._staging.of_call, self._job_id, call.id), patient=False)
        for image in found:
            self._images.setdefault(image.index, image)
        return count > 0 and len(found) == count

    async def keep(self, provider: ImageProvider, call: Call, answer: Generated) -> None:
        """Stage what a call brought. One bad image does not take the good ones with it. Raises `StageError`."""
        wanted = list(zip(call.image_indexes, answer.images, strict=False))
        ends: list[StagedImage | BaseException] = []
        # What is fetched waits for memory, so the answer must hold none any more by then.
        for is_elsewhere in (False, True):
            some = [one for one in wanted if one[1].is_elsewhere is is_elsewhere]
            staging = (self._keep_one(provider, call, index, source, count=len(wanted)) for index, source in some)
            ends += await asyncio.gather(*staging, return_exceptions=True)
            give_back()
        self._images |= {end.index: end for end in ends if isinstance(end, StagedImage)}
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        if len(wanted) < len(call.image_indexes):
            raise failures.too_few(provider.name)

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
        data = await self._read(provider, source)
        seen = await self._reader.inspect(data)
        image = StagedImage(
            index=index,
            name=f"{self._job_id}/{call.id}/{index}",
            call_id=call.id,
            content_type=seen.content_type,
            width=seen.width,
            height=seen.height,
            size_bytes=len(data),
            sha256=seen.sha256,
            blurhash=seen.blurhash,
            seed=source.seed,
            revised_prompt=source.revised_prompt,
            c2pa=seen.c2pa,
        )
        # What was paid for and cannot be had again is never thrown away.
        patient = not (provider.traits.harmless or provider.traits.resumable)
        with span("stage image", attributes={"job.id": self._job_id, "image.index": index}):
            return await self._with_storage(partial(self._staging.put, image, data, count=count), patient=patient)

    async def _read(self, provider: ImageProvider, source: ImageSource) -> bytes:
        """The image's bytes; an address that fails for now is asked again for the whole of the stage."""
        slot, pause = self._slot, FIRST_PAUSE
        while True:
            try:
                return await self._reader.read(source, provider=provider)
            except StageError as error:
                if not error.retryable or time.monotonic() + pause > self._deadline():
                    raise
            if provider.traits.resumable:
                # Whoever is next gets the address anew.
                if await pause_until(slot.ended, slot.stopping, seconds=pause):
                    raise Interrupted
            else:
                await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _with_storage(self, work: Callable[[], Awaitable[T]], *, patient: bool) -> T:
        """Keep trying while the store is away, and hold the lease meanwhile; `patient`: also when it refuses us."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await work()
            except (StorageUnavailable, ObjectMissing) as error:
                # A missing bucket looks like a missing object, and may be made yet.
                if time.monotonic() + pause > self._deadline():
                    raise failures.storage_away() from error
            except StorageDenied as error:
                if not patient or time.monotonic() + pause > self._deadline():
                    raise failures.storage_denied() from error
            except ObjectConflict as error:
                raise failures.staging_differs() from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
