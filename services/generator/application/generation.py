"""Run one claimed job: settle what earlier claims left, buy what is missing, state what came of it."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from common.errors import ServiceError
from common.leased_work import Slot
from common.logs import event
from common.tracing import span
from services.generator.application.purchasing import Interrupted, Progress, Purchaser
from services.generator.application.reporting import ProgressReporter
from services.generator.application.telling import tell
from services.generator.domain import failures, plan
from services.generator.domain.outcomes import StageError
from services.generator.domain.plan import Step
from services.generator.domain.work import Call, Job, Phase, StagedImage
from services.generator.ports import Facts, ImageProvider, ImageReader, JobDesk, Staging

_LOG = logging.getLogger(__name__)


class Generator:
    """Does what the desk hands out, with the providers of this process."""

    def __init__(
        self,
        *,
        desk: JobDesk,
        facts: Facts,
        staging: Staging,
        reader: ImageReader,
        providers: Mapping[str, ImageProvider],
    ) -> None:
        self._desk = desk
        self._facts = facts
        self._staging = staging
        self._reader = reader
        self._providers = providers

    async def run(self, slot: Slot[Job]) -> None:
        """Run a claimed job to the end of its stage."""
        job = slot.work
        progress = Progress(images={image.index: image for image in job.images})
        with span("generate images", parent=job.traceparent or None, attributes={"job.id": job.id}):
            try:
                await self._generate(slot, progress)
            except StageError as error:
                await self._tell_failure(slot, progress, error)
            except Interrupted:
                await self._hand_back(slot, progress)
            except Exception:  # noqa: BLE001 - a defect is a counted failure, or its job would be rescued for ever
                _LOG.exception("job.broke", extra={"job_id": job.id})
                await self._tell_failure(slot, progress, failures.defect())
            else:
                publish = partial(
                    self._facts.images_generated,
                    job=job,
                    calls=tuple(progress.outcomes.values()),
                    images=tuple(progress.images.values()),
                )
                await tell(publish, until=asyncio.Event())

    async def _generate(self, slot: Slot[Job], progress: Progress) -> None:
        job = slot.work
        purchaser = Purchaser(
            slot,
            progress,
            desk=self._desk,
            facts=self._facts,
            staging=self._staging,
            reader=self._reader,
            report=ProgressReporter(self._facts, job),
        )
        inputs: tuple[bytes, ...] | None = None
        for call in job.calls:
            if set(call.image_indexes) & set(_missing(job, progress)) and call.phase not in _NOTHING_BOUGHT:
                await self._settle_earlier(purchaser, job, call, progress)
        provider = self._provider(job.provider)
        while missing := _missing(job, progress):
            if inputs is None:
                inputs = await self._read_inputs(job)
            await purchaser.buy(provider, missing[: provider.max_images_per_call], inputs=inputs)

    async def _settle_earlier(self, purchaser: Purchaser, job: Job, call: Call, progress: Progress) -> None:
        provider = self._provider(call.provider)
        if call.phase is not Phase.UNKNOWN:
            await purchaser.adopt(call)
            if not set(call.image_indexes) & set(_missing(job, progress)):
                return
        match plan.step_for(call, traits=provider.traits, may_pay_again=job.may_pay_again):
            case Step.RESUME:
                await purchaser.resume(provider, call)
            case Step.RESEND:
                await purchaser.resend(provider, call, inputs=await self._read_inputs(job))
            case Step.SETTLE_UNKNOWN:
                progress.end(call, Phase.UNKNOWN)
                error = failures.ambiguous(provider.name)
                # With consent the next claim buys again, once the ledger says that this call is unknown.
                error.retryable = job.may_pay_again
                raise error
            case Step.STOP_AMBIGUOUS:
                raise failures.ambiguous(provider.name)
            case Step.STOP_LOST:
                raise failures.result_lost(provider.name)
            case Step.BUY:
                pass

    def _provider(self, name: str) -> ImageProvider:
        provider = self._providers.get(name)
        if provider is None:
            raise failures.provider_not_configured(name)
        return provider

    async def _read_inputs(self, job: Job) -> tuple[bytes, ...]:
        """Input images in the order of the request; they are fetched or asked for once per claim."""
        data = []
        for image in job.request.inputs:
            if image.url is not None:
                data.append(await self._reader.read_input(image.url))
                continue
            try:
                data.append(b"".join([chunk async for chunk in self._desk.read_input(job, image.index)]))
            except ServiceError as error:
                raise failures.input_unavailable() from error
        return tuple(data)

    async def _tell_failure(self, slot: Slot[Job], progress: Progress, error: StageError) -> None:
        job = slot.work
        event(_LOG, logging.INFO, "job.stage_failed", job_id=job.id, reason=error.reason, stage=error.stage)
        if progress.not_sent:
            await self._release(slot, progress)
            return
        publish = partial(
            self._facts.stage_failed,
            job=job,
            error=error,
            calls=tuple(progress.outcomes.values()),
            images=_new_images(job, progress),
        )
        await tell(publish, until=asyncio.Event())

    async def _hand_back(self, slot: Slot[Job], progress: Progress) -> None:
        """Tell the ledger what it does not know yet; give the job back if it is still ours."""
        calls, images = tuple(progress.outcomes.values()), _new_images(slot.work, progress)
        if calls or images:
            publish = partial(self._facts.ledger_settled, job=slot.work, calls=calls, images=images)
            await tell(publish, until=asyncio.Event())
        if slot.is_held:
            await self._release(slot, progress)

    async def _release(self, slot: Slot[Job], progress: Progress) -> None:
        try:
            await self._desk.release(slot.work, not_sent=progress.not_sent)
        except ServiceError as error:
            # The lease runs out by itself then.
            event(_LOG, logging.WARNING, "job.not_released", job_id=slot.work.id, reason=error.reason)


_NOTHING_BOUGHT = (Phase.REFUSED, Phase.FAILED, Phase.CANCELED, Phase.NOT_SENT)


def _missing(job: Job, progress: Progress) -> list[int]:
    return job.missing(tuple(progress.images.values()))


def _new_images(job: Job, progress: Progress) -> tuple[StagedImage, ...]:
    known = {image.index for image in job.images}
    return tuple(image for index, image in progress.images.items() if index not in known)
