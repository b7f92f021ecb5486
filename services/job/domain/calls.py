"""The ledger of provider calls: phases, what covers an image, and when an image may be bought again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from services.job.domain.failures import Code
from services.job.domain.jobs import Artifact, Cost, Job
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous


class Phase(StrEnum):
    """Where a provider call stands; meanings in `calotype.job.v1.CallPhase`."""

    INTENDED = "intended"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELED = "canceled"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


OPEN = frozenset({Phase.INTENDED, Phase.ACCEPTED})
#: Phases in which an image may have been bought.
MAY_HAVE_BOUGHT = frozenset({Phase.INTENDED, Phase.ACCEPTED, Phase.SUCCEEDED, Phase.UNKNOWN})
#: What a later word may still change: an open call, and one of which nobody knew the end.
UNCERTAIN = frozenset({Phase.INTENDED, Phase.ACCEPTED, Phase.UNKNOWN})


class Consent(StrEnum):
    """Who allowed a call that may pay a second time."""

    NONE = "none"
    JOB = "job"
    USER = "user"


@dataclass(frozen=True, kw_only=True)
class ProviderError:
    """What the vendor said, with secrets removed."""

    http_status: int = 0
    code: str = ""
    message: str = ""
    request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderCall:
    """One row of the ledger."""

    id: str
    job_id: str
    claim_number: int
    provider: str
    model: str
    phase: Phase
    image_indexes: tuple[int, ...]
    idempotency_key: str
    request_digest: str
    consent: Consent
    operation_id: str | None = None
    operation_state: Mapping[str, str] = field(default_factory=dict)
    cost_micros: int | None = None
    provider_error: ProviderError | None = None
    timeout_seconds: float
    #: Whether its result can be fetched by operation id, by whoever asks: as the provider was when it was asked.
    resumable: bool = False
    #: Whether whoever was given it last shows its token when speaking of it.
    token_required: bool = False
    created_at: datetime
    accepted_at: datetime | None = None
    settled_at: datetime | None = None
    #: Whose budget it counts against, in which day, and what was reserved for it; None where it counts against none.
    billed_to: str | None = None
    billed_on: date | None = None
    reserved_micros: int | None = None

    @property
    def can_be_followed(self) -> bool:
        """Whether asking for its result buys nothing."""
        return self.resumable and self.operation_id is not None


@dataclass(frozen=True, kw_only=True)
class CallOutcome:
    """How a call ended, as a worker states it; `code` and `reason` are its error's, where it had one."""

    call_id: str
    phase: Phase
    code: Code | None = None
    reason: str | None = None
    operation_id: str | None = None
    cost_micros: int | None = None
    provider_error: ProviderError | None = None
    #: Whether the provider surely does nothing more for it, where the worker says so.
    is_over: bool | None = None

    @property
    def keeps_its_place(self) -> bool:
        """Whether the provider may be at it still, so that its place is not another's yet."""
        return self.phase is Phase.UNKNOWN if self.is_over is None else not self.is_over


def takes(phase: Phase, told: Phase) -> bool:
    """Whether a call in a phase takes the word that it ended so: what is settled for certain stays.

    An open call takes any word, an unknown one takes a certain one; `services.job.store.calls.settle` says the same.
    """
    return phase in OPEN or (phase is Phase.UNKNOWN and told is not Phase.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a worker knows of a job's calls and images, and the ledger may not know yet."""

    calls: tuple[CallOutcome, ...] = ()
    images: tuple[Artifact, ...] = ()


def has_open_calls(calls: Iterable[ProviderCall]) -> bool:
    """Whether a provider may still be at work."""
    return any(call.phase in OPEN for call in calls)


def may_still_bring(calls: Iterable[ProviderCall], missing: Collection[int]) -> bool:
    """Whether a missing image may yet come of what was paid for: a call is open, or its result can be fetched."""
    return any(
        call.phase in OPEN
        or (call.phase in MAY_HAVE_BOUGHT and call.can_be_followed and not set(missing).isdisjoint(call.image_indexes))
        for call in calls
    )


def consent_for(job: Job, index: int, *, calls: Iterable[ProviderCall]) -> Consent:
    """Whose consent allows to pay again for an image of which nobody knows whether it was bought.

    A consent serves one purchase of each image: it is used up by a call that may have bought the image under it, and
    not by one that surely bought nothing.
    """
    used = [call for call in calls if call.phase in MAY_HAVE_BOUGHT and index in call.image_indexes]
    if job.user_consents and not any(call.consent is Consent.USER and _is_since(call, job) for call in used):
        return Consent.USER
    wants_retry = job.request is not None and job.request.on_ambiguous is OnAmbiguous.RETRY
    if wants_retry and not any(call.consent is Consent.JOB for call in used):
        return Consent.JOB
    return Consent.NONE


def may_pay_again(job: Job, *, calls: Collection[ProviderCall], staged: Collection[int]) -> bool:
    """Whether an image that is missing may be paid for again."""
    missing = set(range(job.image_count)) - set(staged)
    return any(consent_for(job, index, calls=calls) is not Consent.NONE for index in missing)


def _is_since(call: ProviderCall, job: Job) -> bool:
    """Whether the call was begun under the user's present consent; without a time it counts as such."""
    return job.consented_at is None or call.created_at >= job.consented_at


def check_purchase(
    job: Job, *, indexes: Collection[int], calls: Collection[ProviderCall], staged: Collection[int]
) -> tuple[Consent, tuple[str, ...]]:
    """Decide whether the indexes may be bought now.

    Returns the consent under which, and the ids of calls whose cover that consent lifts.
    Raises `Refusal`: INVALID_INPUT for indexes that the job has not, ALREADY_BOUGHT, CONSENT_REQUIRED.
    """
    wanted = set(indexes)
    if not wanted or not wanted <= set(range(job.image_count)):
        raise Refusal("INVALID_INPUT", f"Image indexes must be among 0 to {job.image_count - 1}.")
    if wanted & set(staged):
        raise Refusal("ALREADY_BOUGHT", f"Image {min(wanted & set(staged))} is staged already.")
    covering = [call for call in calls if _covers(call, wanted)]
    if not covering:
        return Consent.NONE, ()
    for call in covering:
        # A succeeded call whose images are nowhere is as lost as an unknown one: same consent.
        if call.phase in OPEN:
            raise Refusal("ALREADY_BOUGHT", f"Call {call.id} may still bring the same image.")
    covered = {index for call in covering for index in call.image_indexes} & wanted
    consents = {consent_for(job, index, calls=calls) for index in covered}
    if Consent.NONE in consents:
        raise Refusal(
            "CONSENT_REQUIRED", f"Call {covering[0].id} may have been charged; nobody consented to pay again."
        )
    return Consent.USER if Consent.USER in consents else Consent.JOB, tuple(call.id for call in covering)


def _covers(call: ProviderCall, wanted: set[int]) -> bool:
    return call.phase in MAY_HAVE_BOUGHT and bool(wanted & set(call.image_indexes))


def needs_consent(job: Job, *, calls: Iterable[ProviderCall], missing: Collection[int]) -> bool:
    """Whether a missing image may have been paid for, so that another try may pay again.

    A call whose result can be fetched needs none, until the fetch has shown that the result is gone.
    """
    wanted = set(missing)
    lost = (Phase.UNKNOWN, Phase.SUCCEEDED)
    is_gone = job.failure is not None and job.failure.reason == "RESULT_LOST"
    return any(call.phase in lost and _covers(call, wanted) and (is_gone or not call.can_be_followed) for call in calls)


def cost_of(calls: Iterable[ProviderCall]) -> Cost:
    """Add up what is known. Calls that surely cost nothing are known; open and unknown ones are not."""
    free_ends = (Phase.NOT_SENT,)
    known: list[int] = []
    complete = True
    for call in calls:
        if call.cost_micros is not None:
            known.append(call.cost_micros)
        elif call.phase not in free_ends:
            complete = False
    return Cost(amount_micros=sum(known) if known else None, complete=complete)
