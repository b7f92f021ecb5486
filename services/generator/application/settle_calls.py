"""Settles open provider calls of final jobs: polls each until it has ended, once per claim."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from common.errors import ServiceError
from common.leased_work import Slot
from common.logs import event
from common.memory import Memory, timeout
from common.publishing import publish_until_confirmed
from common.telemetry import registry
from common.tracing import Attributes, interrupt, set_attributes, span
from services.generator.application import call_log
from services.generator.application.claim import Interrupted
from services.generator.application.provider_call import CANCEL_SECONDS, POLL_SECONDS
from services.generator.application.stage_images import ImageStager
from services.generator.application.unread_responses import UnreadResponses
from services.generator.domain import failures
from services.generator.domain.jobs import Call, CallPhase, StagedImage
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    ProviderError,
    StageError,
)
from services.generator.domain.settlements import CallOutcome, Settlement
from services.generator.ports import Facts, ImageProvider, ImageReader, JobService, Staging

_LOG = logging.getLogger(__name__)
#: Seconds for which one claim tries to fetch and stage images; after that the call is due again later.
STAGING_SECONDS = 60.0


class Settler:
    """Polls open calls of final jobs, so that the ledger gets the outcome of each.

    One claim is one poll: a provider that does not finish takes no slot from the calls of other providers. Images of a
    failed job's call are staged, so that the user's retry need not pay for them again.
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
    ) -> None:
        self._job_service = job_service
        self._facts = facts
        self._staging = staging
        self._reader = reader
        self._providers = providers
        self._memory = memory

    async def run(self, slot: Slot[Settlement]) -> None:
        """Publishes how the call has ended, or postpones it until its next poll."""
        settlement = slot.work
        provider = self._providers[settlement.call.provider]
        attributes: Attributes = {registry.JOB_ID: settlement.job_id, registry.CALL_ID: settlement.call.id}
        with span(registry.SETTLE_CALL, attributes, parent=settlement.traceparent or None):
            cancel = await _cancel(settlement, provider)
            images: dict[int, StagedImage] = {}
            try:
                with self._memory.share(until=slot.claimed_at + STAGING_SECONDS):
                    outcome = await self._end(slot, provider, images)
            except Interrupted:
                interrupt()
                return
            if outcome is not None:
                set_attributes({registry.CALL_PHASE: outcome.phase})
                final_cancel = _final_cancel(cancel, outcome.phase) if settlement.cancel else None
                await self._publish(slot, outcome, final_cancel, tuple(images.values()))
            elif slot.is_held:
                await self._postpone(settlement, cancel, shortest_pause=provider.poll_interval_seconds)

    async def _end(
        self, slot: Slot[Settlement], provider: ImageProvider, images: dict[int, StagedImage]
    ) -> CallOutcome | None:
        """Returns how the call ended, after staging its images if `keep` is set; None while it has not ended."""
        settlement = slot.work
        stager = ImageStager(
            settlement.job_id,
            slot,
            deadline=lambda: slot.claimed_at + STAGING_SECONDS,
            images=images,
            staging=self._staging,
            reader=self._reader,
            memory=self._memory,
        )
        unread = UnreadResponses(reader=self._reader, raw=stager.raw) if settlement.keep else None
        result: CallOutcome | Generated | None = None
        try:
            if settlement.call.phase is not CallPhase.ACCEPTED:
                is_staged = settlement.keep and await stager.adopt(settlement.call)
                return _adopted(settlement.call) if is_staged else _without_operation(settlement, provider)
            result = await _poll(settlement, provider, unread)
            if isinstance(result, Generated):
                if settlement.keep:
                    again = partial(_fetch_again, settlement, provider)
                    await stager.keep(provider, settlement.call, result, again=again)
                return _succeeded(settlement.call, result)
        except StageError as error:
            event(_LOG, logging.WARNING, "settlement.not_kept", call_id=settlement.call.id, reason=error.reason)
            # An unusable result was paid for all the same; one that may still be fetched is tried again later.
            if isinstance(result, Generated) and failures.result_is_useless(error):
                return _succeeded(settlement.call, result)
            return None
        return result

    async def _publish(
        self,
        slot: Slot[Settlement],
        outcome: CallOutcome,
        cancel: CancelOutcome | None,
        images: tuple[StagedImage, ...],
    ) -> None:
        settlement = slot.work
        call_log.write(settlement.call, outcome, job_id=settlement.job_id, tenant=settlement.tenant)
        publish = partial(self._facts.call_settled, settlement=slot.work, outcome=outcome, cancel=cancel, images=images)
        await publish_until_confirmed(publish, until=slot.ended)

    async def _postpone(self, settlement: Settlement, cancel: CancelOutcome | None, *, shortest_pause: float) -> None:
        try:
            await self._job_service.postpone_settlement(
                settlement, cancel_outcome=cancel, shortest_pause=shortest_pause
            )
        except ServiceError as error:
            # The lease then expires, and the next claim repeats the cancel request and the poll.
            event(_LOG, logging.WARNING, "settlement.not_postponed", call_id=settlement.call.id, reason=error.reason)


def _without_operation(settlement: Settlement, provider: ImageProvider) -> CallOutcome:
    """Returns the outcome of a call that may or may not have been sent, and has no operation to poll."""
    phase = CallPhase.FAILED if provider.traits.free else CallPhase.UNKNOWN
    return CallOutcome(call_id=settlement.call.id, phase=phase, is_over=False)


def _adopted(call: Call) -> CallOutcome:
    """Returns the outcome of a call whose images are all in staging."""
    return CallOutcome(call_id=call.id, phase=CallPhase.SUCCEEDED)


async def _cancel(settlement: Settlement, provider: ImageProvider) -> CancelOutcome | None:
    """Requests the provider to stop, once; returns its response, None without one or when no stop is wanted."""
    if not settlement.cancel or settlement.cancel_outcome is not None:
        return settlement.cancel_outcome
    if settlement.call.phase is not CallPhase.ACCEPTED:
        # Without an operation there is nothing to cancel.
        return CancelOutcome.UNSUPPORTED
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            return await provider.cancel(_operation(settlement))
    except (ProviderError, TimeoutError) as error:
        event(_LOG, logging.WARNING, "cancel.unanswered", call_id=settlement.call.id, reason=type(error).__name__)
        return None


async def _poll(
    settlement: Settlement, provider: ImageProvider, unread: UnreadResponses | None
) -> CallOutcome | Generated | None:
    """Polls the operation; returns its result, its outcome without a result, or None while it has not ended.

    The outcome is `UNKNOWN` when the settlement's time is over. `unread` stores unreadable responses; None: drop them.
    """
    call, operation = settlement.call, _operation(settlement)
    try:
        async with timeout(POLL_SECONDS):
            state = await provider.poll(operation)
    except (ProviderError, TimeoutError) as error:
        if unread is not None and isinstance(error, ProviderError):
            generated = await unread.read(provider, call, error)
            if generated is not None:
                return generated
        if isinstance(error, ProviderError) and error.acceptance is Acceptance.ACCEPTED:
            phase = failures.phase_after(error)
            return CallOutcome(call_id=call.id, phase=phase, operation_id=operation.id, error=error.forget())
    else:
        if isinstance(state, Generated):
            return state
    if settlement.seconds_left <= 0:
        return CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN, operation_id=operation.id)
    return None


async def _fetch_again(settlement: Settlement, provider: ImageProvider) -> Generated | None:
    """Fetches the result of the operation again; returns None without a result."""
    result = await _poll(settlement, provider, None)
    return result if isinstance(result, Generated) else None


def _operation(settlement: Settlement) -> Operation:
    return Operation(id=settlement.call.operation_id, state=settlement.call.operation_state)


def _succeeded(call: Call, generated: Generated) -> CallOutcome:
    return CallOutcome(
        call_id=call.id, phase=CallPhase.SUCCEEDED, operation_id=call.operation_id, cost_micros=generated.cost_micros
    )


def _final_cancel(response: CancelOutcome | None, phase: CallPhase) -> CancelOutcome:
    """Returns the final result of the cancel request, from the provider's response and the phase of the ended call."""
    match phase:
        case CallPhase.CANCELED:
            return CancelOutcome.CONFIRMED
        case CallPhase.UNKNOWN:
            return response or CancelOutcome.UNSUPPORTED
        case _:
            return CancelOutcome.UNSUPPORTED if response is CancelOutcome.UNSUPPORTED else CancelOutcome.TOO_LATE
