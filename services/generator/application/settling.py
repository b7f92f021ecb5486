"""Work on what is final: follow open calls to their end, and empty folders in staging."""

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from uuid import uuid4

from common.ids import new_uuid7
from common.jetstream import BrokerUnavailable
from common.leased_work import Slot
from common.logs import event
from common.loops import pause_until
from common.object_store import StorageUnavailable
from common.tracing import span
from services.generator.application.telling import tell
from services.generator.domain.outcomes import CancelOutcome, Generated, Operation, ProviderError
from services.generator.domain.work import Phase
from services.generator.ports import Deletion, Facts, ImageProvider, JobDesk, Outcome, Settlement, Staging

_LOG = logging.getLogger(__name__)
DELETIONS_AT_ONCE = 8
#: An operation of a final job is followed for so long; then its outcome is unknown for good.
LONGEST_SETTLEMENT_SECONDS = 24 * 3600.0


class Settler:
    """Follows open calls of final jobs, so that the ledger knows what each came to."""

    def __init__(self, facts: Facts, providers: Mapping[str, ImageProvider]) -> None:
        self._facts = facts
        self._providers = providers

    async def run(self, slot: Slot[Settlement]) -> None:
        """Settle one call; when the process stops, whoever is next goes on."""
        settlement = slot.work
        provider = self._providers[settlement.call.provider]
        with span("settle call", parent=settlement.traceparent or None, attributes={"call.id": settlement.call.id}):
            settled = await self._settle(slot, provider)
            if settled is None:
                return
            outcome, cancel = settled
            publish = partial(self._facts.call_settled, settlement=settlement, outcome=outcome, cancel=cancel)
            await tell(publish, until=slot.ended)

    async def _settle(
        self, slot: Slot[Settlement], provider: ImageProvider
    ) -> tuple[Outcome, CancelOutcome | None] | None:
        call = slot.work.call
        wish = CancelOutcome.UNSUPPORTED if slot.work.cancel else None
        if call.phase is not Phase.ACCEPTED:
            # It was written down, nobody knows whether it left, and there is no operation to ask about.
            phase = Phase.FAILED if provider.traits.free else Phase.UNKNOWN
            return Outcome(call_id=call.id, phase=phase), wish
        operation = Operation(id=call.operation_id, state=call.operation_state)
        if slot.work.cancel:
            try:
                wish = await provider.cancel(operation)
            except ProviderError as error:
                event(_LOG, logging.WARNING, "cancel.unanswered", call_id=call.id, error=str(error))
        return await self._follow(slot, provider, operation, wish)

    async def _follow(
        self, slot: Slot[Settlement], provider: ImageProvider, operation: Operation, wish: CancelOutcome | None
    ) -> tuple[Outcome, CancelOutcome | None] | None:
        call, until = slot.work.call, time.monotonic() + LONGEST_SETTLEMENT_SECONDS
        while slot.may_begin:
            try:
                answer = await provider.poll(operation)
            except ProviderError as error:
                phase = _phase_of(error)
                if phase is not None:
                    outcome = Outcome(call_id=call.id, phase=phase, operation_id=operation.id, vendor=error.vendor)
                    return outcome, CancelOutcome.CONFIRMED if phase is Phase.CANCELED and wish else wish
            else:
                if isinstance(answer, Generated):
                    outcome = Outcome(
                        call_id=call.id,
                        phase=Phase.SUCCEEDED,
                        operation_id=operation.id,
                        cost_micros=answer.cost_micros,
                    )
                    return outcome, CancelOutcome.TOO_LATE if wish else None
            if time.monotonic() > until:
                return Outcome(call_id=call.id, phase=Phase.UNKNOWN, operation_id=operation.id), wish
            await pause_until(slot.ended, slot.stopping, seconds=provider.poll_interval_seconds)
        return None


def _phase_of(error: ProviderError) -> Phase | None:
    """The end that a poll's error means; None when it only means to ask again."""
    if error.reason == "PROVIDER_CANCELED":
        return Phase.CANCELED
    if error.reason == "RESULT_LOST":
        return Phase.UNKNOWN
    if error.reason == "CONTENT_POLICY":
        return Phase.REFUSED
    return None if error.retryable else Phase.FAILED


class Janitor:
    """Empties staging folders that nobody needs any more."""

    def __init__(self, desk: JobDesk, staging: Staging, facts: Facts) -> None:
        self._desk = desk
        self._staging = staging
        self._facts = facts

    async def run_once(self) -> Mapping[str, int]:
        """Empty the folders that are due; returns counts."""
        deletions = await self._desk.claim_deletions([str(uuid4()) for _ in range(DELETIONS_AT_ONCE)])
        counts = await asyncio.gather(*(self._empty(one) for one in deletions))
        return {"folders": len(deletions), "objects": sum(counts)}

    async def _empty(self, deletion: Deletion) -> int:
        try:
            count = await self._staging.empty(deletion.prefix)
            await self._facts.objects_deleted(str(new_uuid7()), deletion=deletion, count=count)
        except (StorageUnavailable, BrokerUnavailable) as error:
            # The folder is due again when this claim of it runs out.
            event(_LOG, logging.WARNING, "deletion.postponed", deletion=deletion.id, error=type(error).__name__)
            return 0
        return count
