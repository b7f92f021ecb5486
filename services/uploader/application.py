"""Copy a job's images and say so; empty a folder and say so. Every step may be repeated after a crash."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from uuid import uuid4

from common.ids import new_uuid7
from common.jetstream import BrokerUnavailable
from common.leased_work import Slot
from common.logs import event
from common.loops import pause_until
from common.object_store import ObjectConflict, ObjectMissing, StorageDenied, StorageUnavailable
from common.tracing import span
from services.uploader import domain
from services.uploader.domain import StagedImage, Upload, UploadError
from services.uploader.ports import Facts, PublicStore, WorkDesk

_LOG = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
DELETIONS_AT_ONCE = 8


class Uploader:
    """Does what the desk hands out."""

    def __init__(self, desk: WorkDesk, store: PublicStore, facts: Facts) -> None:
        self._desk = desk
        self._store = store
        self._facts = facts

    async def run(self, slot: Slot[Upload]) -> None:
        """Copy the images of one job; a lease that is lost meanwhile ends it without a word that moves the job."""
        upload = slot.work
        with span("upload images", parent=upload.traceparent or None, attributes={"job.id": upload.job_id}):
            try:
                names = await self._store_all(slot)
            except UploadError as error:
                await self._tell(slot, partial(self._facts.upload_failed, upload=upload, error=error))
                return
            if names is not None:
                await self._tell(slot, partial(self._facts.images_stored, upload=upload, names=names))
            elif slot.is_held:
                await self._desk.release(upload)

    async def _store_all(self, slot: Slot[Upload]) -> Mapping[int, str] | None:
        """Public names by index; None when the work was interrupted."""
        upload = slot.work
        deadline = slot.claimed_at + upload.max_seconds
        names = {image.index: domain.public_name(upload.job_id, image) for image in upload.images}
        done = [self._store_one(slot, image, names[image.index], deadline) for image in upload.images]
        return names if all(await asyncio.gather(*done)) else None

    async def _store_one(self, slot: Slot[Upload], image: StagedImage, name: str, deadline: float) -> bool:
        pause = FIRST_PAUSE
        while slot.may_begin:
            try:
                await self._store.publish(image, name)
            except ObjectMissing as error:
                raise domain.staged_image_missing(image.index) from error
            except ObjectConflict as error:
                raise domain.other_content(image.index) from error
            except StorageDenied as error:
                raise domain.storage_denied() from error
            except StorageUnavailable as error:
                if time.monotonic() + pause > deadline:
                    raise domain.storage_unavailable() from error
                await pause_until(slot.ended, slot.stopping, seconds=pause * random.uniform(0.5, 1))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return True
        return False

    async def _tell(self, slot: Slot[Upload], publish: Callable[[str], Awaitable[None]]) -> None:
        """State a fact until it is safe; the lease is kept meanwhile, and the fact keeps its id."""
        fact_id = str(new_uuid7())
        pause = FIRST_PAUSE
        while slot.is_held:
            try:
                await publish(fact_id)
            except BrokerUnavailable:
                event(_LOG, logging.WARNING, "fact.not_published", job_id=slot.work.job_id)
                await pause_until(slot.ended, seconds=pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return

    async def delete_once(self) -> Mapping[str, int]:
        """Empty the folders that are due; returns counts."""
        deletions = await self._desk.claim_deletions([str(uuid4()) for _ in range(DELETIONS_AT_ONCE)])
        objects = 0
        for deletion in deletions:
            try:
                count = await self._store.empty(deletion.prefix)
                await self._facts.objects_deleted(str(new_uuid7()), deletion, count)
                objects += count
            except (StorageUnavailable, BrokerUnavailable) as error:
                # The folder is due again when this claim of it runs out.
                event(_LOG, logging.WARNING, "deletion.postponed", prefix=deletion.prefix, error=type(error).__name__)
        return {"folders": len(deletions), "objects": objects}
