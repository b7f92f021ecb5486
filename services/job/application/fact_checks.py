"""Checks facts before they are applied: the sender was given the calls that it names, and names its own objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application import call_tokens
from services.job.application.call_tokens import CallTokens
from services.job.domain.facts import ImagesStored, JobFact
from services.job.domain.jobs import Artifact, Fence
from services.job.domain.proofs import (
    CallRecord,
    CheckedProof,
    FactMessage,
    named_calls,
    needs_claim,
    refusal_reason,
    without_unknowable,
)
from services.job.domain.refusals import Refusal
from services.job.store import artifacts, attempts, calls


@dataclass(frozen=True, kw_only=True)
class RefusedFact:
    """A fact that must not be applied."""

    #: Why, for the dead letter.
    reason: str


def admit(connection: Connection, messages: Sequence[FactMessage]) -> list[JobFact | RefusedFact]:
    """Checks facts of locked jobs; returns in their order the facts to apply, or why they are refused."""
    records = calls.records(connection, {call_id for message in messages for call_id, _ in named_calls(message.fact)})
    fences = {message.proof.fence for message in messages if message.proof.fence is not None and needs_claim(message)}
    claims = attempts.generators_claims(connection, fences)
    tokens = call_tokens.read(connection) if any(message.proof.tokens for message in messages) else None
    uploaded = {message.fact.job_id for message in messages if isinstance(message.fact, ImagesStored)}
    artifacts_of = artifacts.of_jobs(connection, uploaded)
    admitted: list[JobFact | RefusedFact] = []
    for message in messages:
        fact, checked = message.fact, _check(message, claims, tokens)
        if isinstance(fact, ImagesStored):
            reason = _wrong_name(fact, artifacts_of[fact.job_id])
        else:
            reason = refusal_reason(message, checked, records)
        admitted.append(without_unknowable(fact, checked, records) if reason is None else RefusedFact(reason=reason))
    return admitted


def refuse_without_token(connection: Connection, call_id: str, record: CallRecord, token: bytes) -> None:
    """Raises `Refusal` INVALID_INPUT for a wrong call token, and for none where the call requires one."""
    is_right = bool(token) and call_tokens.read(connection).fits(token, job_id=record.job_id, call_id=call_id)
    if not is_right and (token or record.token_required):
        raise Refusal(Reason.INVALID_INPUT, f"call_token: is not that of {call_id[:80]!r}.")


def _check(message: FactMessage, claims: set[Fence], tokens: CallTokens | None) -> CheckedProof:
    sent: Mapping[str, bytes] = message.proof.tokens if tokens is not None else {}
    right = {
        call_id
        for call_id, token in sent.items()
        if tokens is not None and tokens.fits(token, job_id=message.fact.job_id, call_id=call_id)
    }
    fence = message.proof.fence
    is_claim = fence is not None and fence.job_id == message.fact.job_id and fence in claims
    return CheckedProof(
        claim_number=fence.claim_number if fence is not None and is_claim else None,
        right=frozenset(right),
        wrong=frozenset(sent.keys() - right),
    )


def _wrong_name(fact: ImagesStored, stored: Sequence[Artifact]) -> str | None:
    """Returns why a fact of public images is refused: it names another object; None if all names are right."""
    for image in stored:
        if fact.names.get(image.image_index, image.own_public_name) != image.own_public_name:
            return f"it names another object than image {image.image_index} has"
    return None
