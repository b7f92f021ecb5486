"""Copies a job's images to the public bucket and publishes the result. All steps may be repeated after a crash."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from functools import partial

from calotype import object_names

from common.errors import ServiceError
from common.leased_work import Renewal, Slot
from common.logs import event
from common.loops import pause_until
from common.object_store import ObjectConflict, ObjectDiffers, ObjectMissing, StorageDenied, StorageUnavailable
from common.publishing import Publish, publish_until_confirmed
from common.telemetry import metrics, registry
from common.tracing import Attributes, fail, interrupt, span
from services.uploader import domain
from services.uploader.domain import StagedImage, Upload, UploadError
from services.uploader.ports import Facts, JobService, PublicStore

_LOG = logging.getLogger(__name__)
#: First and longest pause in seconds between two attempts to copy an image.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


class Uploader:
    """Runs the uploads that job-service assigns."""

    def __init__(self, job_service: JobService, store: PublicStore, facts: Facts) -> None:
        self._job_service = job_service
        self._store = store
        self._facts = facts

    async def run(self, slot: Slot[Upload]) -> None:
        """Copies the images of one job and publishes the result; nothing is published after the lease is lost."""
        upload = slot.work
        attributes: Attributes = {
            registry.JOB_ID: upload.job_id,
            registry.CLAIM_NUMBER: upload.claim_number,
            registry.IMAGE_COUNT: len(upload.images),
        }
        with span(registry.UPLOAD, attributes, parent=upload.traceparent or None):
            try:
                is_published = await self._measured(slot)
            except asyncio.CancelledError:
                # The process ends now. The next claim of the job finds the copied images.
                await self._release(slot)
                raise
            if not is_published:
                interrupt()
                await self._give_up(slot)

    async def _measured(self, slot: Slot[Upload]) -> bool:
        began_at, outcome = time.monotonic(), "interrupted"
        try:
            is_published, is_stored = await self._upload(slot)
            if is_published:
                outcome = "stored" if is_stored else "failed"
            return is_published
        finally:
            metrics.observe(registry.UPLOAD_SECONDS, time.monotonic() - began_at, outcome)

    async def _upload(self, slot: Slot[Upload]) -> tuple[bool, bool]:
        """Copies all images and publishes the result; returns whether it was published, and whether it is a success."""
        upload = slot.work
        names = {image.index: upload.public_name(image) for image in upload.images}
        try:
            is_stored = await self._store_all(slot, names)
        except UploadError as error:
            _log_end(slot, "failed", stage=error.stage.lower(), code=error.code, reason=error.reason)
            fail(error.reason, stage=error.stage)
            return await self._publish(slot, partial(self._facts.upload_failed, upload=upload, error=error)), False
        _log_end(slot, "stored" if is_stored else "interrupted")
        if not is_stored:
            return False, False
        return await self._publish(slot, partial(self._facts.images_stored, upload=upload, names=names)), True

    async def _store_all(self, slot: Slot[Upload], names: Mapping[int, str]) -> bool:
        """Copies the images concurrently; the first permanent error cancels the others. False: interrupted."""
        upload = slot.work
        deadline = slot.claimed_at + upload.max_seconds
        try:
            async with asyncio.TaskGroup() as group:
                copies = [
                    group.create_task(self._store_image(slot, image, names[image.index], deadline))
                    for image in upload.images
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return all(copy.result() for copy in copies)

    async def _store_image(self, slot: Slot[Upload], image: StagedImage, name: str, deadline: float) -> bool:
        pause = FIRST_PAUSE
        while slot.may_begin:
            # A worker that cannot renew its lease must not continue for ever.
            if time.monotonic() > deadline:
                raise domain.storage_unavailable()
            try:
                await self._store.publish(image, name)
            except ObjectMissing as error:
                raise domain.staged_image_missing(image.index) from error
            except ObjectDiffers as error:
                raise domain.staged_image_differs(image.index) from error
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
                metrics.count(registry.UPLOADED_IMAGES)
                return True
        return False

    async def _publish(self, slot: Slot[Upload], publish: Publish) -> bool:
        """Publishes a fact while the lease is held; returns False when it was lost before the confirmation."""
        return slot.is_held and await publish_until_confirmed(publish, until=slot.ended)

    async def _give_up(self, slot: Slot[Upload]) -> None:
        if slot.outcome is Renewal.CANCELED:
            await self._delete_copies(slot.work)
        elif slot.is_held:
            await self._release(slot)

    async def _release(self, slot: Slot[Upload]) -> None:
        if not slot.is_held:
            return
        try:
            await self._job_service.release(slot.work)
        except ServiceError as error:
            # The lease then expires.
            event(_LOG, logging.WARNING, "upload.not_released", job_id=slot.work.job_id, reason=error.reason)

    async def _delete_copies(self, upload: Upload) -> None:
        """Deletes the public images of a canceled job, which were copied before the worker learned of it."""
        try:
            await self._store.empty(object_names.public_folder(upload.job_id))
        except (StorageUnavailable, StorageDenied) as error:
            event(_LOG, logging.WARNING, "upload.copies_not_deleted", job_id=upload.job_id, reason=type(error).__name__)


def _log_end(slot: Slot[Upload], outcome: str, **cause: str) -> None:
    """Logs how the copies of an upload ended: `stored`, `failed`, or `interrupted` as its lease or process ends."""
    upload = slot.work
    event(
        _LOG,
        logging.INFO,
        "upload.ended",
        job_id=upload.job_id,
        tenant=upload.tenant,
        outcome=outcome,
        claim_number=upload.claim_number,
        images=len(upload.images),
        size_bytes=sum(image.size_bytes for image in upload.images),
        duration_seconds=round(time.monotonic() - slot.claimed_at, 3),
        **cause,
    )
