"""Work on calls of final jobs: each is followed to its end, one look at a time."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from common.errors import ServiceError
from common.leased_work import Slot
from common.logs import event
from common.memory import Memory, timeout
from common.publishing import publish_until_confirmed
from common.tracing import span
from services.generator.application.claim import Interrupted
from services.generator.application.provider_call import CANCEL_SECONDS, POLL_SECONDS
from services.generator.application.stage_images import ImageStager
from services.generator.application.unread_responses import UnreadResponses
from services.generator.domain import failures
from services.generator.domain.jobs import Call, Phase, StagedImage
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    ProviderError,
    StageError,
)
from services.generator.domain.settlements import Outcome, Settlement
from services.generator.ports import Facts, ImageProvider, ImageReader, JobService, Staging

_LOG = logging.getLogger(__name__)
#: How long one claim tries to fetch and stage what came; then it is given back, and looked for again.
KEEPING_SECONDS = 60.0


class Settler:
    """Looks at open calls of final jobs, so that the ledger knows what each came to.

    One look is all that a claim is for: a vendor that does not end its work keeps no slot from other vendors' calls.
    What a failed job's call has brought is staged, so that the user's retry need not pay for it again.
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
        """Tell how the call has ended, or give it back until its next look."""
        settlement = slot.work
        provider = self._providers[settlement.call.provider]
        with span("settle call", parent=settlement.traceparent or None, attributes={"call.id": settlement.call.id}):
            answer = await _ask_to_stop(settlement, provider)
            images: dict[int, StagedImage] = {}
            try:
                with self._memory.share(until=slot.claimed_at + KEEPING_SECONDS):
                    outcome = await self._end(slot, provider, images)
            except Interrupted:
                return
            if outcome is not None:
                wish = _end_of_wish(answer, outcome.phase) if settlement.cancel else None
                await self._tell(slot, outcome, wish, tuple(images.values()))
            elif slot.is_held:
                await self._postpone(settlement, answer, shortest_pause=provider.poll_interval_seconds)

    async def _end(
        self, slot: Slot[Settlement], provider: ImageProvider, images: dict[int, StagedImage]
    ) -> Outcome | None:
        """How the call ended, once what it brought is staged where somebody may want it; None until then."""
        settlement = slot.work
        stager = ImageStager(
            settlement.job_id,
            slot,
            deadline=lambda: slot.claimed_at + KEEPING_SECONDS,
            images=images,
            staging=self._staging,
            reader=self._reader,
            memory=self._memory,
        )
        unread = UnreadResponses(reader=self._reader, raw=stager.raw) if settlement.keep else None
        seen: Outcome | Generated | None = None
        try:
            if settlement.call.phase is not Phase.ACCEPTED:
                is_there = settlement.keep and await stager.adopt(settlement.call)
                return _adopted(settlement.call) if is_there else _without_operation(settlement, provider)
            seen = await _look(settlement, provider, unread)
            if isinstance(seen, Generated):
                if settlement.keep:
                    again = partial(_look_again, settlement, provider)
                    await stager.keep(provider, settlement.call, seen, again=again)
                return _bought(settlement.call, seen)
        except StageError as error:
            event(_LOG, logging.WARNING, "settlement.not_kept", call_id=settlement.call.id, reason=error.reason)
            # What will never do was paid for all the same; what can be had yet is looked for again.
            if isinstance(seen, Generated) and failures.result_is_useless(error):
                return _bought(settlement.call, seen)
            return None
        return seen

    async def _tell(
        self,
        slot: Slot[Settlement],
        outcome: Outcome,
        wish: CancelOutcome | None,
        images: tuple[StagedImage, ...],
    ) -> None:
        publish = partial(self._facts.call_settled, settlement=slot.work, outcome=outcome, cancel=wish, images=images)
        await publish_until_confirmed(publish, until=slot.ended)

    async def _postpone(self, settlement: Settlement, answer: CancelOutcome | None, *, shortest_pause: float) -> None:
        try:
            await self._job_service.postpone_settlement(
                settlement, cancel_outcome=answer, shortest_pause=shortest_pause
            )
        except ServiceError as error:
            # Its lease runs out by itself then; whoever is next asks and looks again.
            event(_LOG, logging.WARNING, "settlement.not_postponed", call_id=settlement.call.id, reason=error.reason)


def _without_operation(settlement: Settlement, provider: ImageProvider) -> Outcome:
    """It was written down, nobody knows whether it left, and there is no operation to ask about."""
    phase = Phase.FAILED if provider.traits.free else Phase.UNKNOWN
    return Outcome(call_id=settlement.call.id, phase=phase, is_over=False)


def _adopted(call: Call) -> Outcome:
    """All that it was to bring is in staging."""
    return Outcome(call_id=call.id, phase=Phase.SUCCEEDED)


async def _ask_to_stop(settlement: Settlement, provider: ImageProvider) -> CancelOutcome | None:
    """What the provider says to the wish to cancel, now or at an earlier look; None without an answer, or a wish."""
    if not settlement.cancel or settlement.cancel_outcome is not None:
        return settlement.cancel_outcome
    if settlement.call.phase is not Phase.ACCEPTED:
        # There is no operation by which it could be stopped.
        return CancelOutcome.UNSUPPORTED
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            return await provider.cancel(_operation(settlement))
    except (ProviderError, TimeoutError) as error:
        event(_LOG, logging.WARNING, "cancel.unanswered", call_id=settlement.call.id, error=type(error).__name__)
        return None


async def _look(
    settlement: Settlement, provider: ImageProvider, unread: UnreadResponses | None
) -> Outcome | Generated | None:
    """What came of the call, or how it ended else; None while the provider tells neither. After a day it is unknown.

    Answers are kept by `unread`, where somebody may want what they hold.
    """
    call, operation = settlement.call, _operation(settlement)
    try:
        async with timeout(POLL_SECONDS):
            answer = await provider.poll(operation)
    except (ProviderError, TimeoutError) as error:
        if unread is not None and isinstance(error, ProviderError):
            found = await unread.read(provider, call, error)
            if found is not None:
                return found
        if isinstance(error, ProviderError) and error.acceptance is Acceptance.ACCEPTED:
            phase = failures.phase_after(error)
            return Outcome(call_id=call.id, phase=phase, operation_id=operation.id, error=error.forget())
    else:
        if isinstance(answer, Generated):
            return answer
    if settlement.seconds_left <= 0:
        return Outcome(call_id=call.id, phase=Phase.UNKNOWN, operation_id=operation.id)
    return None


async def _look_again(settlement: Settlement, provider: ImageProvider) -> Generated | None:
    """What the operation brings by now."""
    seen = await _look(settlement, provider, None)
    return seen if isinstance(seen, Generated) else None


def _operation(settlement: Settlement) -> Operation:
    return Operation(id=settlement.call.operation_id, state=settlement.call.operation_state)


def _bought(call: Call, answer: Generated) -> Outcome:
    return Outcome(
        call_id=call.id, phase=Phase.SUCCEEDED, operation_id=call.operation_id, cost_micros=answer.cost_micros
    )


def _end_of_wish(wish: CancelOutcome | None, phase: Phase) -> CancelOutcome:
    """What became of the wish to cancel, now that the call has ended."""
    match phase:
        case Phase.CANCELED:
            return CancelOutcome.CONFIRMED
        case Phase.UNKNOWN:
            return wish or CancelOutcome.UNSUPPORTED
        case _:
            return CancelOutcome.UNSUPPORTED if wish is CancelOutcome.UNSUPPORTED else CancelOutcome.TOO_LATE
