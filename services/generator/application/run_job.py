"""Runs one claimed job: settles calls of earlier claims, buys the missing images, and publishes the result."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from common.errors import ServiceError
from common.leased_work import Slot
from common.logs import event
from common.memory import Memory
from common.publishing import BackgroundPublisher
from common.telemetry import registry
from common.tracing import Attributes, fail, interrupt, span
from services.generator.application.claim import Claim, Interrupted
from services.generator.application.input_images import Inputs
from services.generator.application.progress import ProgressReporter
from services.generator.application.provider_call import ProviderCallRunner
from services.generator.application.purchase import Purchase
from services.generator.application.stage_images import ImageStager
from services.generator.application.unread_responses import UnreadResponses
from services.generator.domain import earlier_calls, failures
from services.generator.domain.earlier_calls import Step
from services.generator.domain.jobs import Call, CallPhase, Job
from services.generator.domain.provider_results import StageError
from services.generator.ports import Facts, ImageProvider, ImageReader, JobService, Staging

_LOG = logging.getLogger(__name__)


class NotBought(Exception):
    """The images with these indexes could not be bought, on any route of the job."""

    def __init__(self, error: StageError, indexes: Sequence[int]) -> None:
        super().__init__(str(error))
        self.error = error
        self.indexes = indexes


class Generator:
    """Runs the jobs that job-service assigns, with the providers of this process.

    With `traces_prompts`, the spans of provider calls hold the prompts.
    """

    def __init__(
        self,
        *,
        job_service: JobService,
        facts: Facts,
        staging: Staging,
        reader: ImageReader,
        providers: Mapping[str, ImageProvider],
        memory: Memory,
        traces_prompts: bool = False,
    ) -> None:
        self._job_service = job_service
        self._facts = facts
        self._staging = staging
        self._reader = reader
        self._providers = providers
        self._memory = memory
        self._traces_prompts = traces_prompts
        self._publisher = BackgroundPublisher()

    async def finish(self) -> None:
        """Waits for facts that are still being published in the background; for a limited time."""
        await self._publisher.finish()

    async def run(self, slot: Slot[Job]) -> None:
        """Runs a claimed job to the end of the generating stage."""
        claim = Claim(slot=slot)
        job = claim.job
        attributes: Attributes = {
            registry.JOB_ID: job.id,
            registry.TENANT: job.tenant,
            registry.CLAIM_NUMBER: job.claim_number,
            registry.IMAGE_COUNT: job.image_count,
        }
        with span(registry.GENERATE, attributes, parent=job.traceparent or None):
            try:
                await self._run(claim)
            except asyncio.CancelledError:
                # The process ends now. The next claim of the job decides about a call that is still under way.
                await self._release_at_once(claim)
                raise

    async def _run(self, claim: Claim) -> None:
        try:
            await self._generate(claim)
        except Interrupted:
            interrupt()
            await self._give_up(claim)
        except StageError as error:
            await self._publish_failure(claim, error)
        except Exception:  # noqa: BLE001 - a defect must count as a failed attempt, or the job would be rescued for ever
            _LOG.exception("job.crashed", extra={"job_id": claim.job.id})
            await self._publish_failure(claim, failures.defect())
        else:
            calls, images = tuple(claim.outcomes.values()), tuple(claim.images.values())
            publish = partial(
                self._facts.images_generated, job=claim.job, calls=calls, images=images, warnings=claim.warnings
            )
            await self._publisher.publish(publish, lease_ended=claim.slot.ended)

    async def _generate(self, claim: Claim) -> None:
        stager = ImageStager(
            claim.job.id,
            claim.slot,
            deadline=lambda: claim.deadline,
            images=claim.images,
            staging=self._staging,
            reader=self._reader,
            memory=self._memory,
        )
        unread = UnreadResponses(reader=self._reader, raw=stager.raw)
        runner = ProviderCallRunner(
            claim,
            job_service=self._job_service,
            facts=self._facts,
            publisher=self._publisher,
            unread=unread,
            traces_prompts=self._traces_prompts,
        )
        report = ProgressReporter(self._facts, claim.job)
        purchase = Purchase(
            claim, job_service=self._job_service, runner=runner, stager=stager, memory=self._memory, report=report
        )
        inputs = Inputs(claim, job_service=self._job_service, reader=self._reader)
        for call in earlier_calls.may_have_staged(claim.job.calls, claim.missing()):
            if await stager.adopt(call) and call.phase is not CallPhase.SUCCEEDED:
                claim.end(call, CallPhase.SUCCEEDED)
        await self._settle_earlier(claim, purchase, inputs)
        await self._buy_missing(claim, purchase, inputs)

    async def _settle_earlier(self, claim: Claim, purchase: Purchase, inputs: Inputs) -> None:
        """Settles all earlier calls; then raises the first error. A retryable error is raised at once."""
        errors: list[StageError] = []
        for call in earlier_calls.unsettled(claim.job.calls, claim.missing()):
            try:
                await self._settle_call(claim, purchase, call, inputs)
            except StageError as error:
                if error.retryable:
                    raise
                errors.append(error)
        if errors:
            raise errors[0]

    async def _settle_call(self, claim: Claim, purchase: Purchase, call: Call, inputs: Inputs) -> None:
        provider, may_pay_again = self._provider(call.provider), claim.job.may_pay_again
        match earlier_calls.step_for(call, traits=provider.traits, may_pay_again=may_pay_again):
            case Step.RESUME:
                try:
                    await purchase.resume(provider, call)
                except StageError as error:
                    if not (may_pay_again and failures.result_is_useless(error)):
                        raise
            case Step.RESEND:
                await purchase.resend(provider, call, inputs=await inputs.for_provider(provider, call.model))
            case Step.SETTLE_UNKNOWN:
                claim.end(call, CallPhase.UNKNOWN)
                if not may_pay_again:
                    raise failures.ambiguous(provider.name)
            case Step.STOP_AMBIGUOUS:
                raise failures.ambiguous(provider.name)
            case Step.STOP_LOST:
                raise failures.result_lost(provider.name)
            case Step.BUY:
                pass

    async def _buy_missing(self, claim: Claim, purchase: Purchase, inputs: Inputs) -> None:
        """Buys the missing images; an unusable image does not prevent the others from being bought."""
        failed: set[int] = set()
        errors: list[StageError] = []
        while missing := [index for index in claim.missing() if index not in failed]:
            try:
                # Read once for all routes; an unreadable input ends the claim.
                await inputs.read()
                await self._buy_some(claim, purchase, missing, inputs)
            except NotBought as failure:
                if not failures.spares_others(failure.error, some_staged=bool(claim.images)):
                    raise failure.error from failure
                errors.append(failure.error)
                failed |= set(failure.indexes)
        if errors:
            raise errors[0]

    async def _buy_some(self, claim: Claim, purchase: Purchase, missing: Sequence[int], inputs: Inputs) -> None:
        """Buys the first of the missing images by one call, on the first route that works. Raises `NotBought`."""
        errors: list[StageError] = []
        for route in claim.job.routes[claim.failed_routes :]:
            provider = self._providers.get(route.provider)
            indexes = missing[: provider.images_per_call(route.model) if provider else 1]
            try:
                if provider is None:
                    raise failures.provider_not_configured(route.provider)
                encoded = await inputs.for_provider(provider, route.model)
                await purchase.buy(provider, indexes, model=route.model, inputs=encoded)
            except StageError as error:
                errors.append(error)
                free, on_refusal = bool(provider and provider.traits.free), claim.job.falls_back_on_refusal
                is_last = route == claim.job.routes[-1]
                if is_last or not failures.may_fall_back(error, free=free, on_refusal=on_refusal):
                    raise NotBought(failures.error_to_report(errors), indexes) from error
                claim.failed_routes += 1
                event(
                    _LOG,
                    logging.INFO,
                    "route.failed",
                    job_id=claim.job.id,
                    tenant=claim.job.tenant,
                    provider=route.provider,
                    model=route.model,
                    reason=error.reason,
                )
            else:
                return
        raise AssertionError("a failure of the last route raises NotBought")

    def _provider(self, name: str) -> ImageProvider:
        provider = self._providers.get(name)
        if provider is None:
            raise failures.provider_not_configured(name)
        return provider

    async def _publish_failure(self, claim: Claim, error: StageError) -> None:
        event(_LOG, logging.INFO, "job.stage_failed", job_id=claim.job.id, reason=error.reason, stage=error.stage)
        fail(error.reason, stage=error.stage)
        publish = partial(
            self._facts.stage_failed,
            job=claim.job,
            error=error,
            calls=tuple(claim.outcomes.values()),
            images=claim.new_images(),
        )
        await self._publisher.publish(publish, lease_ended=claim.slot.ended)

    async def _give_up(self, claim: Claim) -> None:
        """Releases the job with all known outcomes and images; if that fails, publishes them as a fact."""
        report = claim.report
        if not await self._release(claim) and (report.calls or report.images):
            publish = partial(self._facts.ledger_settled, job=claim.job, calls=report.calls, images=report.images)
            await self._publisher.publish(publish, lease_ended=claim.slot.ended)

    async def _release_at_once(self, claim: Claim) -> None:
        """Like `_give_up`, but with a single attempt to publish; further attempts go on in the background."""
        report = claim.report
        if not await self._release(claim) and (report.calls or report.images):
            publish = partial(self._facts.ledger_settled, job=claim.job, calls=report.calls, images=report.images)
            ended = asyncio.Event()
            ended.set()
            await self._publisher.publish(publish, lease_ended=ended)

    async def _release(self, claim: Claim) -> bool:
        """Releases the job before its lease expires; returns whether the ledger now has all outcomes and images."""
        if claim.published_as_fact or not claim.slot.is_held:
            return False
        try:
            await self._job_service.release(claim.job, report=claim.report)
        except ServiceError as error:
            # The lease then expires.
            event(_LOG, logging.WARNING, "job.not_released", job_id=claim.job.id, reason=error.reason)
            return False
        return True
