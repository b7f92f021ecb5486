"""Decides whether the sender of a fact may report on the calls that the fact names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.facts import CallAccepted, CallSettled, ImagesStored, JobFact
from services.job.domain.jobs import Fence


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The evidence in a fact that its sender may report on the calls it names."""

    #: Claim under which it was sent; None when the fact has none.
    fence: Fence | None = None
    #: Call tokens by call id.
    tokens: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: Token of the settlement that the sender holds; None without one.
    settlement: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class FactMessage:
    """A fact as received; it may be applied only after its proof was checked."""

    #: What the worker reports.
    fact: JobFact
    #: Its evidence.
    proof: Proof = field(default_factory=Proof)


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """The ledger's data on a call that a fact names."""

    #: Job of the call.
    job_id: str
    #: Claim that sent it last.
    claim_number: int
    #: Whether a fact must carry its token: its last worker sends tokens, or the call is too old for any other worker.
    token_required: bool
    #: Token of the last settlement that held it; None when there was none.
    settle_token: UUID | None


@dataclass(frozen=True, kw_only=True)
class CheckedProof:
    """The parts of a proof that were found valid."""

    #: Claim number of the fence if it is a generator's claim of the job; None otherwise.
    claim_number: int | None
    #: Ids of calls with a valid token.
    right: frozenset[str]
    #: Ids of calls with an invalid token.
    wrong: frozenset[str]


def named_calls(fact: JobFact) -> Iterator[tuple[str, CallPhase | None]]:
    """Yields the id of each call that a fact names, with its reported phase; None when it reports no end."""
    match fact:
        case ImagesStored():
            return
        case CallAccepted():
            yield fact.call_id, None
        case CallSettled():
            yield fact.outcome.call_id, fact.outcome.phase
            yield from ((image.call_id, None) for image in fact.images)
        case _:
            yield from ((outcome.call_id, outcome.phase) for outcome in fact.calls)
            yield from ((image.call_id, None) for image in fact.images)


def needs_claim(message: FactMessage) -> bool:
    """Whether it matters under which claim a fact was sent: not if it has a token of each call, and all were sent."""
    tokens = message.proof.tokens
    return any(call_id not in tokens or phase is CallPhase.NOT_SENT for call_id, phase in named_calls(message.fact))


def refusal_reason(message: FactMessage, checked: CheckedProof, records: Mapping[str, CallRecord]) -> str | None:
    """Returns why a fact must be refused; None when it proves its right to report on each call that it names."""
    for call_id, phase in named_calls(message.fact):
        record, name = records.get(call_id), call_id[:80]
        if record is None:
            # A worker without a response to BeginProviderCall reports its call as not sent, recorded or not.
            if phase is CallPhase.NOT_SENT:
                continue
            return f"it names {name!r}, and there is no such call"
        if record.job_id != message.fact.job_id:
            return f"it names {name!r}, which is a call of another job"
        if call_id in checked.wrong:
            return f"its token is not that of {name!r}"
        if not _may_report(call_id, phase, record, message.proof, checked):
            return f"it does not show that its sender was given {name!r}"
    return None


def _may_report(call_id: str, phase: CallPhase | None, record: CallRecord, proof: Proof, checked: CheckedProof) -> bool:
    if call_id in checked.right or not record.token_required:
        return True
    if proof.settlement is not None and proof.settlement == record.settle_token:
        return True
    if checked.claim_number is None:
        return False
    # A claim receives the calls of earlier claims, and begins its own.
    return phase is CallPhase.NOT_SENT or record.claim_number <= checked.claim_number


def without_unknowable(fact: JobFact, checked: CheckedProof, records: Mapping[str, CallRecord]) -> JobFact:
    """Returns the fact without NOT_SENT reports on calls that a later claim has sent again: its claim cannot know."""
    if isinstance(fact, CallAccepted | CallSettled | ImagesStored) or checked.claim_number is None:
        return fact

    def is_known(outcome: CallOutcome) -> bool:
        record = records.get(outcome.call_id)
        return record is None or record.claim_number <= (checked.claim_number or 0)

    kept = tuple(outcome for outcome in fact.calls if outcome.phase is not CallPhase.NOT_SENT or is_known(outcome))
    return replace(fact, calls=kept)
