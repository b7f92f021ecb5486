"""The claimer's table: what to do about each call that earlier claims left."""

from dataclasses import dataclass
from enum import StrEnum

from services.generator.domain.work import Call, Phase


class Step(StrEnum):
    """What the claimer does about a call that covers missing images."""

    #: Nothing was bought by it: its images may be bought by another.
    BUY = "buy"
    #: Its result exists at the provider: fetch it by operation id.
    RESUME = "resume"
    #: It may have left: look in staging, then send it again under its own key.
    RESEND = "resend"
    #: It may have left and may not be repeated as such: look in staging, then settle it as unknown.
    SETTLE_UNKNOWN = "settle_unknown"
    #: It may have been charged, and nobody consented to pay again.
    STOP_AMBIGUOUS = "stop_ambiguous"
    #: It was charged, its result is gone, and nobody consented to pay again.
    STOP_LOST = "stop_lost"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What the plan needs to know of a provider."""

    free: bool
    idempotent: bool
    resumable: bool


def step_for(call: Call, *, traits: Traits, may_pay_again: bool) -> Step:
    """What to do about a call that covers an image which is not staged."""
    match call.phase:
        case Phase.ACCEPTED:
            return Step.RESUME
        case Phase.SUCCEEDED if call.operation_id and traits.resumable:
            return Step.RESUME
        case Phase.SUCCEEDED:
            return Step.BUY if may_pay_again else Step.STOP_LOST
        case Phase.INTENDED:
            return Step.RESEND if traits.free or traits.idempotent else Step.SETTLE_UNKNOWN
        case Phase.UNKNOWN:
            return Step.BUY if may_pay_again else Step.STOP_AMBIGUOUS
        case _:
            return Step.BUY
