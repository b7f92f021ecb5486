"""Decision table: what a claim does about each provider call that earlier claims of the job left."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.generator.domain.jobs import Call, CallPhase

#: Phases in which a call certainly cost nothing and made no image.
NOTHING_BOUGHT = frozenset({CallPhase.REFUSED, CallPhase.FAILED, CallPhase.CANCELED, CallPhase.NOT_SENT})


class Step(StrEnum):
    """What a claim does about an earlier call for an image that is still missing."""

    #: The call bought nothing, or the user consented to pay again: make another call.
    BUY = "buy"
    #: The provider has an operation for the call: fetch its result by the operation id.
    RESUME = "resume"
    #: The call may have been sent: send it again with its idempotency key.
    RESEND = "resend"
    #: The call may have been sent, and a repeat may be charged: settle it as unknown.
    SETTLE_UNKNOWN = "settle_unknown"
    #: The call may have been charged, and the user did not consent to pay again: end the claim.
    STOP_AMBIGUOUS = "stop_ambiguous"
    #: The call was charged, its result is lost, and the user did not consent to pay again: end the claim.
    STOP_LOST = "stop_lost"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of a provider that decide whether a call may be repeated, resumed or stopped."""

    #: Calls cost nothing.
    free: bool
    #: A repeat with the same idempotency key is not charged again.
    idempotent: bool
    #: Results can be fetched later by operation id, also by another process.
    resumable: bool
    #: A call can be stopped by its own id while its response is pending.
    stoppable: bool = False

    @property
    def harmless(self) -> bool:
        """Whether a request may be sent twice without being charged twice."""
        return self.free or self.idempotent


def step_for(call: Call, *, traits: Traits, may_pay_again: bool) -> Step:
    """Returns what to do about an earlier call for an image that is not staged."""
    match call.phase:
        case CallPhase.ACCEPTED:
            return Step.RESUME
        case CallPhase.SUCCEEDED | CallPhase.UNKNOWN if call.operation_id and traits.resumable:
            # Fetching by operation id costs nothing.
            return Step.RESUME
        case CallPhase.SUCCEEDED:
            return Step.BUY if may_pay_again else Step.STOP_LOST
        case CallPhase.INTENDED:
            return Step.RESEND if traits.harmless else Step.SETTLE_UNKNOWN
        case CallPhase.UNKNOWN:
            return Step.BUY if may_pay_again else Step.STOP_AMBIGUOUS
        case _:
            return Step.BUY


def may_have_staged(calls: Sequence[Call], missing: Collection[int]) -> list[Call]:
    """Returns the calls whose staging folder may hold a missing image: they may have been charged for it."""
    wanted = set(missing)
    return [call for call in calls if call.phase not in NOTHING_BOUGHT and wanted & set(call.image_indexes)]


def unsettled(calls: Sequence[Call], missing: Collection[int]) -> list[Call]:
    """Returns the calls that decide about a missing image and may have been charged, in the given order.

    `calls` come oldest first. Of several calls that may have bought an image, the newest decides: the ledger accepted
    it because the user had consented to pay again. A call that bought nothing does not change an older call's outcome.
    """
    wanted, deciding = set(missing), []
    for call in reversed(calls):
        if call.phase not in NOTHING_BOUGHT and wanted & set(call.image_indexes):
            deciding.append(call)
            wanted -= set(call.image_indexes)
    return deciding[::-1]
