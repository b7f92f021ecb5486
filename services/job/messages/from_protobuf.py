"""Protobuf messages as domain values."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from calotype import object_names
from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, job_service_pb2, worker_service_pb2
from calotype.provider.v1 import provider_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from common.ids import new_uuid7, prefixed
from services.job.domain import facts
from services.job.domain.bounds import MAX_OPTIONS_BYTES
from services.job.domain.calls import CallOutcome, Known, Phase, ProviderError
from services.job.domain.failures import Code, Failure, Stage
from services.job.domain.jobs import Artifact, Fence, JobWarning, ProviderCancel
from services.job.domain.proofs import FactMessage, Proof
from services.job.domain.providers import Capabilities, Model, OptionRule, OptionRules, Provider
from services.job.domain.quotas import Quota
from services.job.domain.refusals import Refusal, Violation
from services.job.domain.requests import InputImage, JobRequest, OnAmbiguous, Priority
from services.job.messages.enums import PRIORITY_IN, member, reason_name
from services.job.messages.subjects import may_come_on
from services.job.store.inputs import MASK

T = TypeVar("T")
_OF_UPLOADS = (error_pb2.STAGE_UPLOADING, error_pb2.STAGE_PERSISTING)


class Undecodable(Exception):
    """A message that no version of its sender may write."""


class Untrue(Undecodable):
    """A message that says of what is derived from it something else."""


def token(written: str, field: str = "lease_token") -> UUID:
    """A UUID. Raises `Refusal` INVALID_INPUT."""
    try:
        return UUID(written)
    except ValueError as error:
        raise Refusal("INVALID_INPUT", f"{field}: not a UUID.") from error


def fence(told: worker_service_pb2.Lease | fact_pb2.Fence) -> Fence:
    """The right under which something is asked or told."""
    return Fence(job_id=told.job_id, claim_number=told.claim_number, lease_token=token(told.lease_token))


def request(wanted: job_pb2.JobRequest) -> JobRequest:
    """What a caller asks for; pictures as digests only. Raises `Refusal` INVALID_INPUT."""
    return JobRequest(
        prompt=wanted.prompt,
        negative_prompt=_given(wanted, "negative_prompt"),
        provider=_given(wanted, "provider"),
        model=_given(wanted, "model"),
        fallback=tuple(wanted.fallback),
        n=wanted.n or 1,
        size=_given(wanted, "size"),
        aspect_ratio=_given(wanted, "aspect_ratio"),
        seed=_given(wanted, "seed"),
        quality=_given(wanted, "quality"),
        output_format=_given(wanted, "output_format"),
        background=_given(wanted, "background"),
        output_compression=_given(wanted, "output_compression"),
        moderation=_given(wanted, "moderation"),
        input_fidelity=_given(wanted, "input_fidelity"),
        input_images=tuple(input_image(one) for one in wanted.input_images),
        mask=input_image(wanted.mask) if wanted.HasField("mask") else None,
        provider_options=_options(wanted) if wanted.HasField("provider_options") else {},
        priority=PRIORITY_IN.get(wanted.priority, Priority.NORMAL),
        start_within_seconds=_given(wanted, "start_within_seconds"),
        finish_within_seconds=_given(wanted, "finish_within_seconds"),
        on_ambiguous=member(OnAmbiguous, job_pb2.OnAmbiguous, "ON_AMBIGUOUS", wanted.on_ambiguous) or OnAmbiguous.FAIL,
        fallback_on_refusal=wanted.fallback_on_refusal,
        callback_url=_given(wanted, "callback_url"),
        end_user=_given(wanted, "end_user"),
        metadata=dict(wanted.metadata),
    )


def _options(wanted: job_pb2.JobRequest) -> dict[str, Any]:
    # In protobuf a value takes at most four times what it takes as JSON: more need not be looked at.
    if wanted.provider_options.ByteSize() > 4 * MAX_OPTIONS_BYTES:
        raise _invalid("provider_options", f"At most {MAX_OPTIONS_BYTES:,} bytes.")
    try:
        options: dict[str, Any] = json_format.MessageToDict(wanted.provider_options)
    except ValueError as error:
        raise _invalid("provider_options", "Holds a number that is not finite.") from error
    return options


def _invalid(field: str, message: str) -> Refusal:
    return Refusal("INVALID_INPUT", f"{field}: {message}", violations=(Violation(field=field, message=message),))


def quota(asked: job_service_pb2.CreateJobRequest | job_service_pb2.RetryJobRequest) -> Quota | None:
    """Bounds of the tenant, where the asker knows them."""
    if not asked.HasField("quota"):
        return None
    bounds = {field.name: max(value, 0) for field, value in asked.quota.ListFields()}
    return Quota(**bounds)


def input_image(image: job_pb2.InputImage) -> InputImage:
    """An input picture as it is remembered."""
    if image.WhichOneof("source") == "url":
        return InputImage(url=image.url, content_type=image.content_type)
    return InputImage(
        content_type=image.content_type,
        sha256=hashlib.sha256(image.data).hexdigest(),
        size_bytes=len(image.data),
    )


def input_bytes(wanted: job_pb2.JobRequest) -> dict[int, bytes]:
    """Input pictures that came as bytes, by index."""
    named = [*enumerate(wanted.input_images), *([(MASK, wanted.mask)] if wanted.HasField("mask") else [])]
    return {index: image.data for index, image in named if image.WhichOneof("source") == "data"}


def moment(message: Any, field: str) -> datetime | None:
    """A timestamp in UTC, or nothing. Raises `Refusal` INVALID_INPUT for one that is not of the years 1 to 9999."""
    if not message.HasField(field):
        return None
    try:
        read: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(field, "Must be a time of the years 1 to 9999.") from error
    return read


def provider(told: provider_pb2.Provider) -> Provider:
    """An entry of the catalogue."""
    return Provider(
        name=told.name,
        kind=told.kind,
        is_default=told.is_default,
        default_model=told.default_model,
        models=tuple(
            Model(
                name=model.name,
                price_micros_per_image=_given(model, "price_micros_per_image"),
                capabilities=_capabilities(model.capabilities) if model.HasField("capabilities") else None,
            )
            for model in told.models
        ),
        capabilities=_capabilities(told.capabilities),
        max_concurrency=told.max_concurrency,
        requests_per_minute=told.requests_per_minute,
        timeout_seconds=told.timeout_seconds,
        option_rules=_option_rules(told.option_rules) if told.HasField("option_rules") else None,
    )


def _option_rules(told: provider_pb2.OptionRules) -> OptionRules:
    rules = (
        OptionRule(
            path=rule.path,
            type=rule.type,
            minimum=_given(rule, "minimum"),
            maximum=_given(rule, "maximum"),
            values=tuple(rule.values),
            max_characters=rule.max_characters,
        )
        for rule in told.rules
    )
    return OptionRules(any=told.any, rules=tuple(rules))


def _capabilities(told: provider_pb2.Capabilities) -> Capabilities:
    able: dict[str, Any] = {
        field.name: tuple(value) if field.is_repeated else value
        for field in told.DESCRIPTOR.fields
        for value in [getattr(told, field.name)]
    }
    return Capabilities(**able)


def failure(told: error_pb2.Failure) -> Failure:
    """A failure; one without stage or code cannot be understood."""
    stage = member(Stage, error_pb2.Stage, "STAGE", told.stage)
    if stage is None:
        raise Undecodable("a failure names no stage")
    return Failure(
        stage=stage,
        code=member(Code, error_pb2.Code, "CODE", told.code) or Code.UNKNOWN,
        reason=reason_name(told.reason),
        message=told.message[:2000],
        retryable=told.retryable,
        retry_after_seconds=_wait(told),
    )


def _wait(told: error_pb2.Failure) -> float | None:
    """Seconds to wait; what is no length of time says nothing."""
    seconds = _given(told, "retry_after_seconds")
    return seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None


def claim_of(body: bytes, *, subject: str) -> tuple[Fence, Stage] | None:
    """The claim that a fact is told under, and the stage that it is about; whatever else it says, or cannot say.

    None on a subject where it may not come: its claim is another's than its sender's.
    """
    try:
        told = fact_pb2.Fact.FromString(body)
        kind = told.WhichOneof("fact")
        if kind not in ("images_generated", "images_stored", "stage_failed") or not may_come_on(subject, kind):
            return None
        named = fence(getattr(told, kind).fence)
    except (DecodeError, Refusal):
        return None
    is_upload = kind == "images_stored" or told.stage_failed.failure.stage in _OF_UPLOADS
    return named, Stage.UPLOADING if is_upload else Stage.GENERATING


def is_known(body: bytes) -> bool:
    """Whether a fact is of a type that this version knows. Bytes that are no fact count as known: no version will."""
    try:
        return fact_pb2.Fact.FromString(body).WhichOneof("fact") is not None
    except DecodeError:
        return True


def outcome(told: fact_pb2.CallOutcome) -> CallOutcome:
    """How a call ended."""
    phase = member(Phase, job_pb2.CallPhase, "CALL_PHASE", told.phase)
    if phase is None or phase in (Phase.INTENDED, Phase.ACCEPTED):
        raise Undecodable(f"call {told.call_id} did not end")
    error = told.error
    return CallOutcome(
        call_id=told.call_id,
        phase=phase,
        code=member(Code, error_pb2.Code, "CODE", told.code),
        reason=reason_name(told.reason) if told.reason else None,
        operation_id=told.operation_id or None,
        cost_micros=_given(told, "cost_micros"),
        provider_error=ProviderError(
            http_status=error.http_status,
            code=error.code[:200],
            message=error.message[:2000],
            request_id=error.request_id[:200],
        )
        if told.HasField("error")
        else None,
        is_over=_given(told, "is_over"),
    )


def image(told: artifact_pb2.ImageArtifact, *, job_id: str, now: datetime) -> Artifact:
    """A staged image."""
    if told.WhichOneof("source") != "staged":
        raise Undecodable(f"image {told.index} is not staged")
    name = object_names.staged_name(job_id=job_id, call_id=told.staged.call_id, index=told.index)
    if told.staged.name != name:
        raise Untrue(f"it names another object than image {told.index} of its call has")
    return Artifact(
        id=prefixed("img", new_uuid7()),
        job_id=job_id,
        image_index=told.index,
        call_id=told.staged.call_id,
        staged_name=name,
        content_type=told.content_type,
        width=told.width,
        height=told.height,
        size_bytes=told.size_bytes,
        sha256=told.sha256,
        blurhash=told.blurhash,
        seed=_given(told, "seed"),
        revised_prompt=_given(told, "revised_prompt"),
        c2pa=told.provenance.c2pa,
        staged_at=now,
    )


def known(
    asked: worker_service_pb2.BeginProviderCallRequest | worker_service_pb2.ReleaseJobRequest, *, now: datetime
) -> Known:
    """What an asker knows of its job's calls and images. Raises `Refusal` INVALID_INPUT."""
    try:
        return Known(
            calls=_all(outcome, asked.settled), images=_images(asked.staged, job_id=asked.lease.job_id, now=now)
        )
    except Undecodable as error:
        raise Refusal("INVALID_INPUT", f"settled, staged: {error}.") from error


def provider_cancel(told: int) -> ProviderCancel | None:
    """What became of the wish to cancel, if anything is said of it."""
    return member(ProviderCancel, job_pb2.ProviderCancel, "PROVIDER_CANCEL", told)


def job_fact(told: fact_pb2.Fact, *, now: datetime) -> FactMessage:
    """A fact about a job, and what it shows for it. Raises `Undecodable`."""
    try:
        return FactMessage(fact=_job_fact(told, now=now), proof=_proof(told))
    except Refusal as error:
        raise Undecodable(error.message) from error


def _proof(told: fact_pb2.Fact) -> Proof:
    kind = told.WhichOneof("fact")
    about = getattr(told, kind or "")
    match kind:
        case "images_stored":
            # It speaks of no call.
            return Proof()
        case "call_settled":
            return Proof(tokens=_tokens([about.call]), settlement=_settlement(about.lease_token))
        case "provider_call_accepted":
            return Proof(fence=_claim(about), tokens=_tokens([about]))
        case _:
            return Proof(fence=_claim(about), tokens=_tokens(about.calls))


def _claim(about: Any) -> Fence | None:
    """The claim under which something is told; workers of older versions leave it out where it moves no job."""
    return fence(about.fence) if about.HasField("fence") else None


def _tokens(about: Iterable[Any]) -> dict[str, bytes]:
    return {one.call_id: one.call_token for one in about if one.call_token}


def _settlement(written: str) -> UUID | None:
    """Of a settlement; what is no token holds nothing."""
    try:
        return UUID(written)
    except ValueError:
        return None


def _job_fact(told: fact_pb2.Fact, *, now: datetime) -> facts.JobFact:
    match told.WhichOneof("fact"):
        case "provider_call_accepted":
            accepted = told.provider_call_accepted
            return facts.CallAccepted(
                job_id=accepted.job_id,
                call_id=accepted.call_id,
                operation_id=accepted.operation_id,
                operation_state=dict(accepted.operation_state),
            )
        case "images_generated":
            made = told.images_generated
            return facts.ImagesGenerated(
                fence=fence(made.fence),
                calls=_all(outcome, made.calls),
                images=_images(made.images, job_id=made.fence.job_id, now=now),
                warnings=_all(warning, made.warnings),
            )
        case "images_stored":
            kept = told.images_stored
            names = {one.index: one.object_name for one in kept.images}
            return facts.ImagesStored(fence=fence(kept.fence), names=names)
        case "stage_failed":
            ended = told.stage_failed
            return facts.StageFailed(
                fence=fence(ended.fence),
                failure=failure(ended.failure),
                calls=_all(outcome, ended.calls),
                images=_images(ended.images, job_id=ended.fence.job_id, now=now),
                deferred=ended.deferred,
            )
        case "call_settled":
            settled = told.call_settled
            cancel = provider_cancel(settled.provider_cancel)
            return facts.CallSettled(
                job_id=settled.job_id,
                outcome=outcome(settled.call),
                images=_images(settled.images, job_id=settled.job_id, now=now),
                provider_cancel=cancel,
            )
        case "ledger_settled":
            ledger = told.ledger_settled
            return facts.LedgerSettled(
                job_id=ledger.job_id,
                calls=_all(outcome, ledger.calls),
                images=_images(ledger.images, job_id=ledger.job_id, now=now),
            )
        case _:
            raise Undecodable("the fact is of no job")


def warning(told: job_pb2.Warning) -> JobWarning:
    """A warning."""
    return JobWarning(
        reason=reason_name(told.reason), message=told.message[:500], image_index=_given(told, "image_index")
    )


def _images(told: Sequence[artifact_pb2.ImageArtifact], *, job_id: str, now: datetime) -> tuple[Artifact, ...]:
    return tuple(image(one, job_id=job_id, now=now) for one in told)


def _all(read: Any, told: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(read(one) for one in told)


def _given(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None
