"""Facts of workers, and what they report on calls and images."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from calotype import object_names
from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code, Reason
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, worker_service_pb2
from google.protobuf.message import DecodeError

from common.ids import new_uuid7, prefixed
from services.job.domain import facts
from services.job.domain.calls import OPEN, CallOutcome, CallPhase, VendorError, WorkerReport
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Artifact, Fence, JobWarning, ProviderCancel
from services.job.domain.proofs import FactMessage, Proof
from services.job.domain.refusals import Refusal
from services.job.messages.enums import member, reason
from services.job.messages.from_protobuf.values import Undecodable, fence, optional
from services.job.messages.subjects import may_come_on

T = TypeVar("T")
_OF_UPLOADS = (error_pb2.STAGE_UPLOADING, error_pb2.STAGE_PERSISTING)


class Contradiction(Undecodable):
    """A message with a value that contradicts the fields from which it is derived."""


def failure(message: error_pb2.Failure) -> Failure:
    """Returns a failure. Raises `Undecodable` for one without a known stage; an unknown code is UNKNOWN."""
    stage = member(Stage, error_pb2.Stage, "STAGE", message.stage)
    if stage is None:
        raise Undecodable("a failure names no stage")
    return Failure(
        stage=stage,
        code=member(Code, error_pb2.Code, "CODE", message.code) or Code.UNKNOWN,
        reason=reason(message.reason),
        message=message.message[:2000],
        retryable=message.retryable,
        retry_after_seconds=_retry_after_seconds(message),
    )


def _retry_after_seconds(message: error_pb2.Failure) -> float | None:
    """Returns the requested wait; None when absent, negative or not finite."""
    seconds = optional(message, "retry_after_seconds")
    return seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None


def claim_of(body: bytes, *, subject: str) -> tuple[Fence, Stage] | None:
    """Returns the claim and the stage that a fact ends, even if the rest of the fact cannot be read.

    None for other facts, and on a subject where the fact may not come: then the claim is not its sender's.
    """
    try:
        message = fact_pb2.Fact.FromString(body)
        kind = message.WhichOneof("fact")
        if kind not in ("images_generated", "images_stored", "stage_failed") or not may_come_on(subject, kind):
            return None
        claim = fence(getattr(message, kind).fence)
    except (DecodeError, Refusal):
        return None
    is_upload = kind == "images_stored" or message.stage_failed.failure.stage in _OF_UPLOADS
    return claim, Stage.UPLOADING if is_upload else Stage.GENERATING


def is_known(body: bytes) -> bool:
    """Whether this version knows the type of a fact; also True for bytes that no version can read."""
    try:
        return fact_pb2.Fact.FromString(body).WhichOneof("fact") is not None
    except DecodeError:
        return True


def outcome(message: fact_pb2.CallOutcome) -> CallOutcome:
    """Returns the end of a call. Raises `Undecodable` for an open or unknown phase."""
    phase = member(CallPhase, job_pb2.CallPhase, "CALL_PHASE", message.phase)
    if phase is None or phase in OPEN:
        raise Undecodable(f"call {message.call_id} did not end")
    error = message.error
    return CallOutcome(
        call_id=message.call_id,
        phase=phase,
        code=member(Code, error_pb2.Code, "CODE", message.code),
        reason=reason(message.reason) if message.reason else None,
        operation_id=message.operation_id or None,
        cost_micros=optional(message, "cost_micros"),
        provider_error=VendorError(
            http_status=error.http_status,
            code=error.code[:200],
            message=error.message[:2000],
            request_id=error.request_id[:200],
        )
        if message.HasField("error")
        else None,
        is_over=optional(message, "is_over"),
    )


def _image(message: artifact_pb2.ImageArtifact, *, job_id: str, now: datetime) -> Artifact:
    """Returns a staged image. Raises `Undecodable`, and `Contradiction` for the name of another object."""
    if message.WhichOneof("source") != "staged":
        raise Undecodable(f"image {message.index} is not staged")
    name = object_names.staged_name(job_id=job_id, call_id=message.staged.call_id, index=message.index)
    if message.staged.name != name:
        raise Contradiction(f"it names another object than image {message.index} of its call has")
    return Artifact(
        id=prefixed("img", new_uuid7()),
        job_id=job_id,
        image_index=message.index,
        call_id=message.staged.call_id,
        staged_name=name,
        content_type=message.content_type,
        width=message.width,
        height=message.height,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        blurhash=message.blurhash,
        seed=optional(message, "seed"),
        revised_prompt=optional(message, "revised_prompt"),
        c2pa=message.provenance.c2pa,
        staged_at=now,
    )


def _images(messages: Sequence[artifact_pb2.ImageArtifact], *, job_id: str, now: datetime) -> tuple[Artifact, ...]:
    return tuple(_image(message, job_id=job_id, now=now) for message in messages)


def worker_report(
    message: worker_service_pb2.BeginProviderCallRequest | worker_service_pb2.ReleaseJobRequest, *, now: datetime
) -> WorkerReport:
    """Returns a worker's report on calls and images of its job. Raises `Refusal` INVALID_INPUT."""
    try:
        return WorkerReport(
            calls=_all(outcome, message.settled),
            images=_images(message.staged, job_id=message.lease.job_id, now=now),
        )
    except Undecodable as error:
        raise Refusal(Reason.INVALID_INPUT, f"settled, staged: {error}.") from error


def provider_cancel(number: int) -> ProviderCancel | None:
    """Returns the result of canceling at the provider; None when unspecified."""
    return member(ProviderCancel, job_pb2.ProviderCancel, "PROVIDER_CANCEL", number)


def job_fact(message: fact_pb2.Fact, *, now: datetime) -> FactMessage:
    """Returns a fact about a job with its proof. Raises `Undecodable`."""
    try:
        return FactMessage(fact=_job_fact(message, now=now), proof=_proof(message))
    except Refusal as error:
        raise Undecodable(error.message) from error


def _proof(message: fact_pb2.Fact) -> Proof:
    kind = message.WhichOneof("fact")
    fact = getattr(message, kind or "")
    match kind:
        case "images_stored":
            # It names no call.
            return Proof()
        case "call_settled":
            return Proof(tokens=_tokens([fact.call]), settlement=_settlement(fact.lease_token))
        case "provider_call_accepted":
            return Proof(fence=_claim(fact), tokens=_tokens([fact]))
        case _:
            return Proof(fence=_claim(fact), tokens=_tokens(fact.calls))


def _claim(fact: Any) -> Fence | None:
    """Returns the claim of a fact; workers of older versions omit it where it changes no job."""
    return fence(fact.fence) if fact.HasField("fence") else None


def _tokens(calls: Iterable[Any]) -> dict[str, bytes]:
    return {call.call_id: call.call_token for call in calls if call.call_token}


def _settlement(token: str) -> UUID | None:
    """Returns a settlement's token; None for a text that is no token, which proves nothing."""
    try:
        return UUID(token)
    except ValueError:
        return None


def _job_fact(message: fact_pb2.Fact, *, now: datetime) -> facts.JobFact:
    match message.WhichOneof("fact"):
        case "provider_call_accepted":
            accepted = message.provider_call_accepted
            return facts.CallAccepted(
                job_id=accepted.job_id,
                call_id=accepted.call_id,
                operation_id=accepted.operation_id,
                operation_state=dict(accepted.operation_state),
            )
        case "images_generated":
            generated = message.images_generated
            return facts.ImagesGenerated(
                fence=fence(generated.fence),
                calls=_all(outcome, generated.calls),
                images=_images(generated.images, job_id=generated.fence.job_id, now=now),
                warnings=_all(_warning, generated.warnings),
            )
        case "images_stored":
            stored = message.images_stored
            names = {image.index: image.object_name for image in stored.images}
            return facts.ImagesStored(fence=fence(stored.fence), names=names)
        case "stage_failed":
            failed = message.stage_failed
            return facts.StageFailed(
                fence=fence(failed.fence),
                failure=failure(failed.failure),
                calls=_all(outcome, failed.calls),
                images=_images(failed.images, job_id=failed.fence.job_id, now=now),
                deferred=failed.deferred,
            )
        case "call_settled":
            settled = message.call_settled
            return facts.CallSettled(
                job_id=settled.job_id,
                outcome=outcome(settled.call),
                images=_images(settled.images, job_id=settled.job_id, now=now),
                provider_cancel=provider_cancel(settled.provider_cancel),
            )
        case "ledger_settled":
            ledger = message.ledger_settled
            return facts.LedgerSettled(
                job_id=ledger.job_id,
                calls=_all(outcome, ledger.calls),
                images=_images(ledger.images, job_id=ledger.job_id, now=now),
            )
        case _:
            raise Undecodable("the fact is of no job")


def _warning(message: job_pb2.Warning) -> JobWarning:
    return JobWarning(
        reason=reason(message.reason),
        message=message.message[:500],
        image_index=optional(message, "image_index"),
    )


def _all(convert: Callable[[Any], T], messages: Iterable[Any]) -> tuple[T, ...]:
    return tuple(convert(message) for message in messages)
