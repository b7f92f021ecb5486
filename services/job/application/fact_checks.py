"""Admit facts to the fold: each shows that its sender was given the calls it speaks of, and names its own objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from services.job.application import call_tokens
from services.job.application.call_tokens import CallTokens
from services.job.domain.facts import ImagesStored, JobFact
from services.job.domain.jobs import Artifact, Fence
from services.job.domain.proofs import CheckedProof, FactMessage, named_calls, refusal_reason, without_unknowable
from services.job.domain.refusals import Refusal
from services.job.store import artifacts, attempts, calls


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A fact of which nothing may be taken."""

    reason: str


def admit(connection: Connection, told: Sequence[FactMessage]) -> list[JobFact | Refused]:
    """Check facts whose jobs are locked; in their order, each as it may be folded, or why it may not."""
    standings = calls.standings(connection, {call_id for one in told for call_id, _ in named_calls(one.fact)})
    fences = {one.proof.fence for one in told if one.proof.fence is not None and any(named_calls(one.fact))}
    claims = attempts.generators_claims(connection, fences)
    tokens = call_tokens.read(connection) if any(one.proof.tokens for one in told) else None
    stored = artifacts.of_jobs(connection, {one.fact.job_id for one in told if isinstance(one.fact, ImagesStored)})
    admitted: list[JobFact | Refused] = []
    for one in told:
        checked = _check(one, claims, tokens)
        if isinstance(one.fact, ImagesStored):
            reason = _other_name(one.fact, stored[one.fact.job_id])
        else:
            reason = refusal_reason(one, checked, standings)
        admitted.append(without_unknowable(one.fact, checked, standings) if reason is None else Refused(reason=reason))
    return admitted


def refuse_without_token(connection: Connection, *, job_id: str, call_id: str, token: bytes) -> None:
    """Raises `Refusal` INVALID_INPUT unless whoever asks about a call shows its token, where it has to."""
    standing = calls.standings(connection, {call_id}).get(call_id)
    is_right = bool(token) and call_tokens.read(connection).fits(token, job_id=job_id, call_id=call_id)
    if not is_right and (token or standing is None or standing.token_required):
        raise Refusal("INVALID_INPUT", f"call_token: is not that of {call_id[:80]!r}.")


def _check(told: FactMessage, claims: set[Fence], tokens: CallTokens | None) -> CheckedProof:
    shown: Mapping[str, bytes] = told.proof.tokens if tokens is not None else {}
    right = {
        call_id
        for call_id, token in shown.items()
        if tokens is not None and tokens.fits(token, job_id=told.fact.job_id, call_id=call_id)
    }
    fence = told.proof.fence
    is_its_own = fence is not None and fence.job_id == told.fact.job_id and fence in claims
    return CheckedProof(
        claim_number=fence.claim_number if fence is not None and is_its_own else None,
        right=frozenset(right),
        wrong=frozenset(shown.keys() - right),
    )


def _other_name(fact: ImagesStored, stored: Sequence[Artifact]) -> str | None:
    """Why a fact of public images is wrong: they have other names."""
    for image in stored:
        if fact.names.get(image.image_index, image.own_public_name) != image.own_public_name:
            return f"it names another object than image {image.image_index} has"
    return None
