"""Whether the sender of a fact may speak of the calls that it names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from services.job.domain.calls import CallOutcome, Phase
from services.job.domain.facts import CallAccepted, CallSettled, ImagesStored, JobFact
from services.job.domain.jobs import Fence


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a fact shows for its sender: the claim it was made under, tokens by call id, and a settlement's token."""

    fence: Fence | None = None
    tokens: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    settlement: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class FactMessage:
    """A fact as it came: nothing of it counts before its proof was checked."""

    fact: JobFact
    proof: Proof = field(default_factory=Proof)


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """What the ledger has of a call that somebody speaks of."""

    job_id: str
    claim_number: int
    #: Whoever was given it last shows tokens, or it is too old for anybody else to speak of it.
    token_required: bool
    #: Token of the settlement that held it last.
    settle_token: UUID | None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Which parts of a proof are true."""

    #: The fence's claim, if a generator made it.
    claim_number: int | None
    #: Calls whose token is right, and those whose token is not.
    right: frozenset[str]
    wrong: frozenset[str]


def named_calls(fact: JobFact) -> Iterator[tuple[str, Phase | None]]:
    """Calls that a fact speaks of, with the phase in which it says that they ended."""
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


def policy(told: FactMessage, checked: Checked, standings: Mapping[str, CallRecord]) -> str | None:
    """Why nothing of a fact may be taken; None where it shows its right to speak of each call that it names."""
    for call_id, phase in named_calls(told.fact):
        standing, name = standings.get(call_id), call_id[:80]
        if standing is None:
            # Whoever got no answer to BeginProviderCall says that it was not sent, though it may not be written down.
            if phase is Phase.NOT_SENT:
                continue
            return f"it names {name!r}, and there is no such call"
        if standing.job_id != told.fact.job_id:
            return f"it names {name!r}, which is a call of another job"
        if call_id in checked.wrong:
            return f"its token is not that of {name!r}"
        if not _may_speak_of(call_id, phase, standing, told.proof, checked):
            return f"it does not show that its sender was given {name!r}"
    return None


def _may_speak_of(call_id: str, phase: Phase | None, standing: CallRecord, proof: Proof, checked: Checked) -> bool:
    if call_id in checked.right or not standing.token_required:
        return True
    if proof.settlement is not None and proof.settlement == standing.settle_token:
        return True
    if checked.claim_number is None:
        return False
    # A claim was given the calls before it, and began its own.
    return phase is Phase.NOT_SENT or standing.claim_number <= checked.claim_number


def without_hearsay(fact: JobFact, checked: Checked, standings: Mapping[str, CallRecord]) -> JobFact:
    """The fact without what it cannot know: that a call never left which a later claim has sent again."""
    if isinstance(fact, CallAccepted | CallSettled | ImagesStored) or checked.claim_number is None:
        return fact

    def is_known(outcome: CallOutcome) -> bool:
        standing = standings.get(outcome.call_id)
        return standing is None or standing.claim_number <= (checked.claim_number or 0)

    kept = tuple(one for one in fact.calls if one.phase is not Phase.NOT_SENT or is_known(one))
    return replace(fact, calls=kept)
