"""The ledger of provider calls: phases, which calls cover an image, and when an image may be bought again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from calotype.error_reasons import Code, Reason

from services.job.domain.jobs import Artifact, Cost, Job
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous


class CallPhase(StrEnum):
    """Phase of a provider call, as in `calotype.job.v1.CallPhase`."""

    #: Recorded before it is sent; it may have reached the provider.
    INTENDED = "intended"
    #: The provider named an operation id.
    ACCEPTED = "accepted"
    #: It made images.
    SUCCEEDED = "succeeded"
    #: The provider refused the request, and made nothing.
    REFUSED = "refused"
    #: It ended without images.
    FAILED = "failed"
    #: The provider confirmed that it stopped.
    CANCELED = "canceled"
    #: It surely never left the worker.
    NOT_SENT = "not_sent"
    #: It may have been charged, and its result was lost.
    UNKNOWN = "unknown"


#: Phases of calls that have not ended.
OPEN = frozenset({CallPhase.INTENDED, CallPhase.ACCEPTED})
#: Phases in which an image may have been bought.
MAY_HAVE_BOUGHT = frozenset({CallPhase.INTENDED, CallPhase.ACCEPTED, CallPhase.SUCCEEDED, CallPhase.UNKNOWN})


class Consent(StrEnum):
    """Source of the consent to a call that may pay a second time."""

    #: No consent was given or needed.
    NONE = "none"
    #: The request says `on_ambiguous: retry`.
    JOB = "job"
    #: The user's retry says so.
    USER = "user"


@dataclass(frozen=True, kw_only=True)
class VendorError:
    """The provider's own error, with secrets removed."""

    #: HTTP status; 0 when there was no HTTP response.
    http_status: int = 0
    #: The provider's error code, up to 200 characters; "" when it named none.
    code: str = ""
    #: The provider's text, up to 2,000 characters.
    message: str = ""
    #: The provider's id of the request, for its support; up to 200 characters.
    request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderCall:
    """One row of the ledger: a call of a provider."""

    #: `call_` and 32 hex digits; chosen by the worker.
    id: str
    #: Job that it was made for.
    job_id: str
    #: `Job.claim_number` of the claim that sent it, or that sent it again.
    claim_number: int
    #: Name of the provider.
    provider: str
    #: Model that was called.
    model: str
    #: Current phase.
    phase: CallPhase
    #: Images that it buys, by index in the job.
    image_indexes: tuple[int, ...]
    #: Key that is sent to the provider; the call's id.
    idempotency_key: str
    #: SHA-256 of the request to the provider, 64 hex digits.
    request_digest: str
    #: Consent under which it may pay again.
    consent: Consent
    #: The provider's id of the operation; None before acceptance, and at providers without operations.
    operation_id: str | None = None
    #: What the adapter needs to follow the operation, such as URLs.
    operation_state: Mapping[str, str] = field(default_factory=dict)
    #: Reported cost in millionths of a US dollar; None when unknown.
    cost_micros: int | None = None
    #: The provider's own error; None without one, and once the job is deleted.
    provider_error: VendorError | None = None
    #: Longest duration, as the provider was configured when the call began.
    timeout_seconds: float
    #: Whether its result can be fetched by operation id, as the provider was configured when the call began.
    resumable: bool = False
    #: Whether facts about it must carry its token: its last worker is of a version that sends tokens.
    token_required: bool = False
    #: Time at which it was recorded, before it was sent.
    created_at: datetime
    #: Time at which the provider's acceptance was recorded; None before it.
    accepted_at: datetime | None = None
    #: Time at which its end was recorded; None while it is open.
    settled_at: datetime | None = None
    #: Tenant whose budget it counts against; None when it counts against none.
    billed_to: str | None = None
    #: Day (UTC) on which it counts; None when it counts against no budget.
    billed_on: date | None = None
    #: Reserved amount in millionths of a US dollar; None when it counts against no budget.
    reserved_micros: int | None = None

    @property
    def can_be_followed(self) -> bool:
        """Whether its result can be fetched without buying anything."""
        return self.resumable and self.operation_id is not None


@dataclass(frozen=True, kw_only=True)
class CallOutcome:
    """The end of a call, as a worker reports it."""

    #: The call that ended.
    call_id: str
    #: A phase that is not open.
    phase: CallPhase
    #: Class of its failure; None without one.
    code: Code | None = None
    #: Its failure's reason; None without one.
    reason: Reason | None = None
    #: The provider's id of the operation; None when it named none.
    operation_id: str | None = None
    #: Cost in millionths of a US dollar; None when unknown.
    cost_micros: int | None = None
    #: The provider's own error; None without one.
    provider_error: VendorError | None = None
    #: Whether the provider surely works on it no more; None when the worker does not report that.
    is_over: bool | None = None

    @property
    def keeps_slot(self) -> bool:
        """Whether the provider may still work on it, so that it still counts against the concurrency limit."""
        return self.phase is CallPhase.UNKNOWN if self.is_over is None else not self.is_over


def accepts_outcome(phase: CallPhase, reported: CallPhase) -> bool:
    """Whether a report that a call ended changes a call in a phase.

    An open call accepts any report, an unknown one accepts a certain end, and a certain end stays. The statement of
    `services.job.store.calls.settle` has the same rule.
    """
    return phase in OPEN or (phase is CallPhase.UNKNOWN and reported is not CallPhase.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A worker's report on calls and images of its job, which the ledger may not have yet."""

    #: Calls that ended.
    calls: tuple[CallOutcome, ...] = ()
    #: Images that were staged.
    images: tuple[Artifact, ...] = ()


def has_open_calls(calls: Iterable[ProviderCall]) -> bool:
    """Whether a provider may still work on a call."""
    return any(call.phase in OPEN for call in calls)


def may_still_deliver(calls: Iterable[ProviderCall], missing: Collection[int]) -> bool:
    """Whether a call may still deliver a missing image: it is open, or its result can be fetched."""
    return any(
        call.phase in OPEN
        or (call.phase in MAY_HAVE_BOUGHT and call.can_be_followed and not set(missing).isdisjoint(call.image_indexes))
        for call in calls
    )


def consent_for(job: Job, index: int, *, calls: Iterable[ProviderCall]) -> Consent:
    """Returns the consent that allows paying again for an image that may already be paid for.

    A consent covers one purchase per image. A call under it that may have bought the image uses it up; a call that
    surely bought nothing does not.
    """
    used = [call for call in calls if call.phase in MAY_HAVE_BOUGHT and index in call.image_indexes]
    if job.user_consents and not any(call.consent is Consent.USER and _is_since(call, job) for call in used):
        return Consent.USER
    wants_retry = job.request is not None and job.request.on_ambiguous is OnAmbiguous.RETRY
    if wants_retry and not any(call.consent is Consent.JOB for call in used):
        return Consent.JOB
    return Consent.NONE


def may_pay_again(job: Job, *, calls: Collection[ProviderCall], staged: Collection[int]) -> bool:
    """Whether any missing image may be paid for again."""
    missing = set(range(job.image_count)) - set(staged)
    return any(consent_for(job, index, calls=calls) is not Consent.NONE for index in missing)


def _is_since(call: ProviderCall, job: Job) -> bool:
    """Whether the call began under the user's current consent; a consent without a time covers every call."""
    return job.consented_at is None or call.created_at >= job.consented_at


def check_purchase(
    job: Job, *, indexes: Collection[int], calls: Collection[ProviderCall], staged: Collection[int]
) -> tuple[Consent, tuple[str, ...]]:
    """Checks that the images may be bought now.

    Returns the consent under which they are bought, and the ids of earlier calls that no longer block these images.
    Raises `Refusal`: INVALID_INPUT for indexes outside the job, ALREADY_BOUGHT, CONSENT_REQUIRED.
    """
    wanted = set(indexes)
    if not wanted or not wanted <= set(range(job.image_count)):
        raise Refusal(Reason.INVALID_INPUT, f"Image indexes must be among 0 to {job.image_count - 1}.")
    if wanted & set(staged):
        raise Refusal(Reason.ALREADY_BOUGHT, f"Image {min(wanted & set(staged))} is staged already.")
    covering = [call for call in calls if _covers(call, wanted)]
    if not covering:
        return Consent.NONE, ()
    for call in covering:
        # A succeeded call whose images were lost needs the same consent as an unknown one.
        if call.phase in OPEN:
            raise Refusal(Reason.ALREADY_BOUGHT, f"Call {call.id} is open and may still deliver this image.")
    covered = {index for call in covering for index in call.image_indexes} & wanted
    consents = {consent_for(job, index, calls=calls) for index in covered}
    if Consent.NONE in consents:
        raise Refusal(
            Reason.CONSENT_REQUIRED,
            f"Call {covering[0].id} may have been charged, and there is no consent to pay again.",
        )
    return Consent.USER if Consent.USER in consents else Consent.JOB, tuple(call.id for call in covering)


def _covers(call: ProviderCall, wanted: set[int]) -> bool:
    return call.phase in MAY_HAVE_BOUGHT and bool(wanted & set(call.image_indexes))


def needs_consent(job: Job, *, calls: Iterable[ProviderCall], missing: Collection[int]) -> bool:
    """Whether a retry needs consent: a missing image may be paid for already, so that another call may pay again.

    A call whose result can be fetched needs no consent, until a fetch has shown that the result is gone.
    """
    wanted = set(missing)
    lost = (CallPhase.UNKNOWN, CallPhase.SUCCEEDED)
    is_gone = job.failure is not None and job.failure.reason == Reason.RESULT_LOST
    return any(call.phase in lost and _covers(call, wanted) and (is_gone or not call.can_be_followed) for call in calls)


def cost_of(calls: Iterable[ProviderCall]) -> Cost:
    """Returns the sum of the known costs. A call that was not sent costs nothing; other calls need a reported cost."""
    free_ends = (CallPhase.NOT_SENT,)
    known: list[int] = []
    complete = True
    for call in calls:
        if call.cost_micros is not None:
            known.append(call.cost_micros)
        elif call.phase not in free_ends:
            complete = False
    return Cost(amount_micros=sum(known) if known else None, complete=complete)
