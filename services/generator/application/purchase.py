"""Buys missing images: records each provider call before it is sent, and stages its images."""

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial

from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.ids import new_uuid7
from common.leased_work import Renewal
from common.logs import event
from common.memory import Memory
from services.generator.application.claim import Claim, Interrupted
from services.generator.application.provider_call import ProviderCallRunner
from services.generator.application.stage_images import ImageStager
from services.generator.domain import failures
from services.generator.domain.jobs import Call, CallPhase
from services.generator.domain.provider_results import Generated, StageError
from services.generator.ports import ImageProvider, JobService, ProviderRequest

_LOG = logging.getLogger(__name__)
#: Seeds are 0 to this number, exclusive.
SEEDS = 2**63


class Purchase:
    """Buys images for one claimed job. Methods raise `StageError` or `Interrupted`."""

    def __init__(
        self,
        claim: Claim,
        *,
        job_service: JobService,
        runner: ProviderCallRunner,
        stager: ImageStager,
        memory: Memory,
        report: Callable[[float], None],
    ) -> None:
        self._claim = claim
        self._job_service = job_service
        self._runner = runner
        self._stager = stager
        self._memory = memory
        self._report = report

    async def buy(
        self, provider: ImageProvider, indexes: Sequence[int], *, model: str, inputs: tuple[bytes, ...]
    ) -> None:
        """Buys the images with these indexes by one call."""
        self._claim.require_time()
        call_id = f"call_{new_uuid7().hex}"
        provider_request = self._provider_request(call_id, model, indexes, inputs, key=call_id)
        requested_at = time.monotonic()
        call = await self._begin(provider, provider_request, indexes)
        if not self._claim.slot.may_begin:
            self._claim.end_unsent(call.id)
            raise Interrupted
        if self._is_too_late(requested_at):
            self._claim.end_unsent(call.id)
            raise failures.permission_too_late()
        await self._stage_result(provider, call, self._runner.send(provider, call, provider_request))

    async def resend(self, provider: ImageProvider, call: Call, *, inputs: tuple[bytes, ...]) -> None:
        """Sends an earlier call again with its idempotency key; only for providers that do not charge that."""
        self._claim.require_time()
        requested_at = time.monotonic()
        try:
            again = await self._job_service.resend_call(self._claim.job, call, report=self._claim.report)
        except ServiceError as error:
            raise self._refused(provider, error) from error
        self._claim.is_generating = True
        # The earlier claim may have sent the call, so it is not recorded as unsent.
        if not self._claim.slot.may_begin:
            raise Interrupted
        if self._is_too_late(requested_at):
            raise failures.permission_too_late()
        provider_request = self._provider_request(
            call.id, again.model, call.image_indexes, inputs, key=again.idempotency_key
        )
        await self._stage_result(provider, again, self._runner.send(provider, again, provider_request))

    async def resume(self, provider: ImageProvider, call: Call) -> None:
        """Follows an operation of an earlier claim, and stages its images."""
        try:
            call = await self._job_service.follow_call(self._claim.job, call, report=self._claim.report)
        except ServiceError as error:
            raise self._refused(provider, error) from error
        self._claim.is_generating = True
        provider_request = self._provider_request(call.id, call.model, call.image_indexes, (), key=call.idempotency_key)
        await self._stage_result(provider, call, self._runner.resume(provider, call, provider_request))

    async def _stage_result(self, provider: ImageProvider, call: Call, result: Awaitable[Generated]) -> None:
        """Awaits the call's result and stages it; the memory of the response is counted until then."""
        with self._memory.share(until=self._claim.deadline):
            try:
                await self._stage(provider, call, await result)
            except StageError as error:
                raise error.forget()  # noqa: B904 - its cause is dropped, too

    async def _stage(self, provider: ImageProvider, call: Call, generated: Generated) -> None:
        try:
            again = partial(self._runner.fetch_again, provider, call)
            await self._stager.keep(provider, call, generated, again=again)
        except StageError as error:
            # A call that may be repeated free of charge must not count as a lost result in the ledger.
            if provider.traits.free:
                self._claim.end(call, CallPhase.FAILED, cost_micros=generated.cost_micros)
            elif provider.traits.idempotent and not provider.traits.resumable and error.retryable:
                del self._claim.outcomes[call.id]
            raise

    def _provider_request(
        self, call_id: str, model: str, indexes: Sequence[int], inputs: tuple[bytes, ...], *, key: str
    ) -> ProviderRequest:
        seed = self._claim.job.request.seed
        return ProviderRequest(
            call_id=call_id,
            idempotency_key=key,
            model=model,
            count=len(indexes),
            request=self._claim.job.request,
            # The image with index i has the job's seed plus i, whichever call makes it.
            seed=None if seed is None else (seed + indexes[0]) % SEEDS,
            inputs=inputs,
            report=lambda fraction: self._report(self._fraction_of_job(fraction, len(indexes))),
        )

    def _fraction_of_job(self, fraction: float, count: int) -> float:
        return (len(self._claim.images) + fraction * count) / self._claim.job.image_count

    async def _begin(self, provider: ImageProvider, provider_request: ProviderRequest, indexes: Sequence[int]) -> Call:
        digest = hashlib.sha256(
            json.dumps(asdict(provider_request.request), sort_keys=True, default=str).encode()
        ).hexdigest()
        try:
            call = await self._job_service.begin_call(
                self._claim.job,
                call_id=provider_request.call_id,
                provider=provider.name,
                model=provider_request.model,
                indexes=indexes,
                digest=digest,
                report=self._claim.report,
            )
        except ServiceError as error:
            # job-service may have recorded the call; it was certainly not sent.
            if error.is_unanswered:
                self._claim.end_unsent(provider_request.call_id)
            raise self._refused(provider, error) from error
        self._claim.is_generating = True
        return call

    def _refused(self, provider: ImageProvider, error: ServiceError) -> Exception:
        if error.is_unanswered:
            return Interrupted()
        match error.reason:
            case Reason.LEASE_LOST:
                self._claim.slot.outcome = Renewal.LOST
                self._claim.slot.ended.set()
                return Interrupted()
            case Reason.CONSENT_REQUIRED:
                return failures.ambiguous(provider.name)
            case Reason.PROVIDER_NOT_FOUND:
                return failures.provider_not_configured(provider.name)
            case Reason.UNSUPPORTED:
                return failures.request_unsupported(error.message)
            case Reason.BUDGET_EXHAUSTED:
                return failures.budget_exhausted(error.message, retry_after_seconds=error.retry_after_seconds)
            case Reason.PROVIDER_BUSY:
                return failures.provider_busy(provider.name, retry_after_seconds=error.retry_after_seconds)
            case _:
                event(_LOG, logging.ERROR, "call.refused", job_id=self._claim.job.id, reason=str(error))
                return failures.call_refused()

    def _is_too_late(self, requested_at: float) -> bool:
        """Returns whether another worker may hold the job by the time at which a request reaches the provider."""
        return time.monotonic() - requested_at > self._claim.job.lease_seconds / 2
