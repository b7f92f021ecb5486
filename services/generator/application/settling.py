"""Work on what is final: follow open calls to their end, and empty folders in staging."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from functools import partial
from uuid import uuid4

from common.ids import new_uuid7
from common.jetstream import BrokerUnavailable
from common.leased_work import Slot
from common.logs import event
from common.loops import pause_until
from common.object_store import StorageDenied, StorageUnavailable
from common.tracing import span
from services.generator.application.telling import tell
from services.generator.domain import failures
from services.generator.domain.outcomes import Acceptance, CancelOutcome, Generated, Operation, Pending, ProviderError
from services.generator.domain.work import Phase
from services.generator.ports import Deletion, Facts, ImageProvider, JobDesk, Outcome, Settlement, Staging

_LOG = logging.getLogger(__name__)
DELETIONS_AT_ONCE = 8
#: Nobody waits for these calls: they are looked at less and less often.
LONGEST_PAUSE = 60.0
_FOLDER = re.compile(r"^job_[0-9a-f]{32}/")


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
            if settlement.call.phase is Phase.ACCEPTED:
                settled = await self._follow(slot, provider)
            else:
                settled = _without_operation(settlement, provider)
            if settled is None:
                return
            outcome, cancel = settled
            publish = partial(self._facts.call_settled, settlement=settlement, outcome=outcome, cancel=cancel)
            await tell(publish, until=slot.ended)

    async def _follow(
        self, slot: Slot[Settlement], provider: ImageProvider
    ) -> tuple[Outcome, CancelOutcome | None] | None:
        call, until, pause = slot.work.call, time.monotonic() + slot.work.seconds_left, 0.0
        operation = Operation(id=call.operation_id, state=call.operation_state)
        wish: CancelOutcome | None = None
        while slot.may_begin:
            if slot.work.cancel and wish is None:
                wish = await _ask_to_cancel(provider, operation)
            outcome = await _look(provider, slot.work, operation)
            if outcome is None and time.monotonic() > until:
                outcome = Outcome(call_id=call.id, phase=Phase.UNKNOWN, operation_id=operation.id)
            if outcome is not None:
                return outcome, _end_of_wish(wish, outcome.phase) if slot.work.cancel else None
            pause = min(max(pause * 1.2, provider.poll_interval_seconds), LONGEST_PAUSE)
            await pause_until(slot.ended, slot.stopping, seconds=pause)
        return None


def _without_operation(settlement: Settlement, provider: ImageProvider) -> tuple[Outcome, CancelOutcome | None]:
    """It was written down, nobody knows whether it left, and there is no operation to ask about."""
    phase = Phase.FAILED if provider.traits.free else Phase.UNKNOWN
    return Outcome(call_id=settlement.call.id, phase=phase), CancelOutcome.UNSUPPORTED if settlement.cancel else None


async def _ask_to_cancel(provider: ImageProvider, operation: Operation) -> CancelOutcome | None:
    try:
        return await provider.cancel(operation)
    except ProviderError as error:
        event(_LOG, logging.WARNING, "cancel.unanswered", operation_id=operation.id, reason=error.reason)
        return None


async def _look(provider: ImageProvider, settlement: Settlement, operation: Operation) -> Outcome | None:
    """How the call ended; None while it has not, or while the provider does not tell."""
    call = settlement.call
    try:
        answer = await provider.poll(operation)
    except ProviderError as error:
        if error.acceptance is not Acceptance.ACCEPTED:
            return None
        phase = failures.phase_after(error)
        return Outcome(call_id=call.id, phase=phase, operation_id=operation.id, error=error)
    if isinstance(answer, Pending):
        return None
    return _bought(call.id, operation, answer)


def _bought(call_id: str, operation: Operation, answer: Generated) -> Outcome:
    return Outcome(call_id=call_id, phase=Phase.SUCCEEDED, operation_id=operation.id, cost_micros=answer.cost_micros)


def _end_of_wish(wish: CancelOutcome | None, phase: Phase) -> CancelOutcome:
    """What became of the wish to cancel, now that the call has ended."""
    match phase:
        case Phase.CANCELED:
            return CancelOutcome.CONFIRMED
        case Phase.UNKNOWN:
            return wish or CancelOutcome.UNSUPPORTED
        case _:
            return CancelOutcome.UNSUPPORTED if wish is CancelOutcome.UNSUPPORTED else CancelOutcome.TOO_LATE


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
        return {"folders": sum(one is not None for one in counts), "objects": sum(filter(None, counts))}

    async def _empty(self, deletion: Deletion) -> int | None:
        """Empty one folder and say so; None when it is not done yet. It is due again when this claim runs out."""
        if not _FOLDER.match(deletion.prefix):
            event(_LOG, logging.ERROR, "deletion.refused", prefix=deletion.prefix, why="it is no job's folder")
            return None
        try:
            count = await self._staging.empty(deletion.prefix)
            await self._facts.objects_deleted(str(new_uuid7()), deletion=deletion, count=count)
        except (StorageUnavailable, StorageDenied, BrokerUnavailable) as error:
            event(_LOG, logging.WARNING, "deletion.postponed", deletion=deletion.id, error=type(error).__name__)
            return None
        return count
