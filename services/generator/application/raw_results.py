"""What was paid for and cannot be delivered: staged as it came, and looked at again when its job is retried.

It lies beside the call's images, under names of its own, and is none of them. A later version may be able to read it,
or an operator puts a mended image in its place.
"""

import logging
from collections.abc import Callable
from functools import partial

from calotype import object_names

from common.logs import event
from common.memory import Memory, expect
from services.generator.application.storage_retries import until_stored
from services.generator.domain.jobs import Call, StagedImage
from services.generator.domain.provider_results import ImageSource, StageError
from services.generator.ports import ImageProvider, ImageReader, Inspected, RawResult, Staging

#: It is in memory as such, as the text that it may be, and as the images of that.
COPIES = 3
_LOG = logging.getLogger(__name__)


class RawResults:
    """Those of one job; `deadline` is on the monotonic clock."""

    def __init__(
        self, job_id: str, *, deadline: Callable[[], float], staging: Staging, reader: ImageReader, memory: Memory
    ) -> None:
        self._job_id = job_id
        self._deadline = deadline
        self._staging = staging
        self._reader = reader
        self._memory = memory

    async def keep(self, provider: ImageProvider, call: Call, part: str, data: bytes) -> str | None:
        """Stage something as it came, under a name that is returned; None where it could not be kept.

        `part` is an image's index, or what else of the call it is. Nothing is kept of what costs nothing to make again.
        """
        if provider.traits.free or not data:
            return None
        name = f"{object_names.raw_folder(job_id=self._job_id, call_id=call.id)}{part}"
        patient = not (provider.traits.harmless or provider.traits.resumable)
        try:
            put = partial(self._staging.put_raw, name, data)
            await until_stored(put, deadline=self._deadline, patient=patient)
        except StageError as error:
            # Of two that differ the first is kept. Whatever else it is, the failure that led here is what is told.
            if error.reason != "RESULT_MISMATCH":
                event(_LOG, logging.ERROR, "result.not_kept", object=name, bytes=len(data), reason=error.reason)
                return None
        event(_LOG, logging.WARNING, "result.kept_raw", job_id=self._job_id, call_id=call.id, object=name)
        return name

    async def adopt(self, call: Call, *, known: set[int]) -> dict[int, StagedImage]:
        """Make images of what a call left, as far as that is possible by now, but for those that are known."""
        listing = partial(self._staging.raw_of_call, self._job_id, call.id)
        adopted: dict[int, StagedImage] = {}
        for raw in await until_stored(listing, deadline=self._deadline, patient=False):
            with self._memory.share(until=self._deadline()):
                try:
                    found = await self._images_of(call, raw)
                    for index in found.keys() - known - adopted.keys():
                        adopted[index] = await self._stage(call, index, found[index])
                except StageError as error:
                    if error.reason == "SERVICE_UNAVAILABLE":
                        # It says nothing about what lies there.
                        raise
                    event(_LOG, logging.INFO, "result.still_raw", object=raw.name, reason=error.reason)
        return adopted

    async def _images_of(self, call: Call, raw: RawResult) -> dict[int, bytes]:
        await expect(raw.size_bytes, copies=COPIES)
        read = partial(self._staging.get_raw, raw.name)
        data = await until_stored(read, deadline=self._deadline, patient=False)
        if raw.part.isdecimal():
            return {index: data for index in call.image_indexes if str(index) == raw.part}
        images = await self._reader.found_in(data, limit=len(call.image_indexes))
        brought = [image.data for image in images if image.data is not None]
        return dict(zip(call.image_indexes, brought, strict=False))

    async def _stage(self, call: Call, index: int, data: bytes) -> StagedImage:
        data, seen = await self._reader.deliverable(data, provider=call.provider)
        image = image_of(self._job_id, call, index, ImageSource(data=data), seen, size=len(data))
        put = partial(self._staging.put, image, data, count=len(call.image_indexes))
        return await until_stored(put, deadline=self._deadline, patient=False)


def image_of(job_id: str, call: Call, index: int, source: ImageSource, seen: Inspected, *, size: int) -> StagedImage:
    """An image of a call as it is to be staged."""
    return StagedImage(
        index=index,
        name=object_names.staged_name(job_id=job_id, call_id=call.id, index=index),
        call_id=call.id,
        content_type=seen.content_type,
        width=seen.width,
        height=seen.height,
        size_bytes=size,
        sha256=seen.sha256,
        blurhash=seen.blurhash,
        seed=source.seed,
        revised_prompt=source.revised_prompt,
        c2pa=seen.c2pa,
    )
