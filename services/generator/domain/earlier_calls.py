"""The claimer's table: what to do about each call that earlier claims left."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.generator.domain.jobs import Call, Phase

#: Calls in these phases bought nothing, for certain.
NOTHING_BOUGHT = frozenset({Phase.REFUSED, Phase.FAILED, Phase.CANCELED, Phase.NOT_SENT})


class Step(StrEnum):
    """What the claimer does about a call that covers missing images."""

    #: Nothing was bought by it: its images may be bought by another.
    BUY = "buy"
    #: Its result exists at the provider: fetch it by operation id.
    RESUME = "resume"
    #: It may have left: send it again under its own key.
    RESEND = "resend"
    #: It may have left and may not be repeated as such: settle it as unknown.
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
    #: A call can be stopped by its own id while its answer is waited for.
    stoppable: bool = False

    @property
    def harmless(self) -> bool:
        """Whether a request may be sent twice without being charged twice."""
        return self.free or self.idempotent


def step_for(call: Call, *, traits: Traits, may_pay_again: bool) -> Step:
    """What to do about a call that covers an image which is not staged."""
    match call.phase:
        case Phase.ACCEPTED:
            return Step.RESUME
        case Phase.SUCCEEDED | Phase.UNKNOWN if call.operation_id and traits.resumable:
            # Asking by operation id buys nothing.
            return Step.RESUME
        case Phase.SUCCEEDED:
            return Step.BUY if may_pay_again else Step.STOP_LOST
        case Phase.INTENDED:
            return Step.RESEND if traits.harmless else Step.SETTLE_UNKNOWN
        case Phase.UNKNOWN:
            return Step.BUY if may_pay_again else Step.STOP_AMBIGUOUS
        case _:
            return Step.BUY


def may_have_left_images(calls: Sequence[Call], missing: Collection[int]) -> list[Call]:
    """Calls whose folder in staging is worth a look: they cover a missing image and may have bought it."""
    wanted = set(missing)
    return [call for call in calls if call.phase not in NOTHING_BOUGHT and wanted & set(call.image_indexes)]


def unsettled(calls: Sequence[Call], missing: Collection[int]) -> list[Call]:
    """Calls that decide over a missing image and are not known to have bought nothing, in the order given.

    `calls` come oldest first. Of those that may have bought an image the newest decides over it: the ledger took it
    because somebody had consented to pay again. One that bought nothing leaves an older one's outcome as it was.
    """
    wanted, found = set(missing), []
    for call in reversed(calls):
        if call.phase not in NOTHING_BOUGHT and wanted & set(call.image_indexes):
            found.append(call)
            wanted -= set(call.image_indexes)
    return found[::-1]
