"""Paid results that cannot be delivered: stored unchanged in staging, and read again when the job is retried.

They have their own object names beside the call's images, and do not count as images. A later version may be able to
read them, or an operator may replace them with a repaired image.
"""

import logging
from collections.abc import Callable
from functools import partial

from calotype import object_names
from calotype.error_reasons import Reason

from common.logs import event
from common.memory import Memory, expect
from services.generator.application.storage_retries import until_stored
from services.generator.domain.jobs import Call, StagedImage
from services.generator.domain.provider_results import ImageSource, StageError
from services.generator.ports import ImageProvider, ImageReader, Inspected, RawResult, Staging

#: Copies in memory while a result is read: the bytes, their text, and the images in that text.
COPIES = 3
_LOG = logging.getLogger(__name__)


class RawResults:
    """Unreadable results of one job; `deadline` returns a moment on the monotonic clock."""

    def __init__(
        self, job_id: str, *, deadline: Callable[[], float], staging: Staging, reader: ImageReader, memory: Memory
    ) -> None:
        self._job_id = job_id
        self._deadline = deadline
        self._staging = staging
        self._reader = reader
        self._memory = memory

    async def keep(self, provider: ImageProvider, call: Call, part: str, data: bytes) -> str | None:
        """Stores data unchanged in staging; returns the object name, None when it is not stored.

        `part` is the image's index, or a name such as `answer`. Data of a free provider is not stored.
        """
        if provider.traits.free or not data:
            return None
        name = f"{object_names.raw_folder(job_id=self._job_id, call_id=call.id)}{part}"
        patient = not (provider.traits.harmless or provider.traits.resumable)
        try:
            put = partial(self._staging.put_raw, name, data)
            await until_stored(put, deadline=self._deadline, patient=patient)
        except StageError as error:
            # Of two different results the first is kept. For other errors the caller reports its original error.
            if error.reason != Reason.RESULT_MISMATCH:
                event(_LOG, logging.ERROR, "result.not_kept", object=name, bytes=len(data), reason=error.reason)
                return None
        event(_LOG, logging.WARNING, "result.kept_raw", job_id=self._job_id, call_id=call.id, object=name)
        return name

    async def adopt(self, call: Call, *, staged: set[int]) -> dict[int, StagedImage]:
        """Stages those images that can be read by now from the stored data of a call; skips the indexes in `staged`."""
        listing = partial(self._staging.raw_of_call, self._job_id, call.id)
        adopted: dict[int, StagedImage] = {}
        for raw in await until_stored(listing, deadline=self._deadline, patient=False):
            with self._memory.share(until=self._deadline()):
                try:
                    images = await self._images_of(call, raw)
                    for index in images.keys() - staged - adopted.keys():
                        adopted[index] = await self._stage(call, index, images[index])
                except StageError as error:
                    if error.reason == Reason.SERVICE_UNAVAILABLE:
                        # This process could not decode it now, which says nothing about the data.
                        raise
                    event(_LOG, logging.INFO, "result.not_adopted", object=raw.name, reason=error.reason)
        return adopted

    async def _images_of(self, call: Call, raw: RawResult) -> dict[int, bytes]:
        await expect(raw.size_bytes, copies=COPIES)
        read = partial(self._staging.get_raw, raw.name)
        data = await until_stored(read, deadline=self._deadline, patient=False)
        if raw.part.isdecimal():
            return {index: data for index in call.image_indexes if str(index) == raw.part}
        images = await self._reader.images_in(data, limit=len(call.image_indexes))
        encoded = [image.data for image in images if image.data is not None]
        return dict(zip(call.image_indexes, encoded, strict=False))

    async def _stage(self, call: Call, index: int, data: bytes) -> StagedImage:
        data, inspected = await self._reader.deliverable(data, provider=call.provider)
        image = image_of(self._job_id, call, index, ImageSource(data=data), inspected, size=len(data))
        put = partial(self._staging.put, image, data, count=len(call.image_indexes))
        return await until_stored(put, deadline=self._deadline, patient=False)


def image_of(
    job_id: str, call: Call, index: int, source: ImageSource, inspected: Inspected, *, size: int
) -> StagedImage:
    """Returns the description of a call's image for staging; `size` in bytes."""
    return StagedImage(
        index=index,
        name=object_names.staged_name(job_id=job_id, call_id=call.id, index=index),
        call_id=call.id,
        content_type=inspected.content_type,
        width=inspected.width,
        height=inspected.height,
        size_bytes=size,
        sha256=inspected.sha256,
        blurhash=inspected.blurhash,
        seed=source.seed,
        revised_prompt=source.revised_prompt,
        c2pa=inspected.c2pa,
    )
