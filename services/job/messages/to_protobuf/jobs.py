"""Jobs, their images, attempts and calls."""

import re
from collections.abc import Callable, Sequence

from calotype import object_names
from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2

from common.tracing import trace_id
from services.job.domain.calls import ProviderCall
from services.job.domain.final_events import FinalEventReference
from services.job.domain.jobs import Artifact, Attempt, Snapshot
from services.job.domain.quotas import Rate
from services.job.domain.requests import InputImage, JobRequest, Priority
from services.job.domain.states import State
from services.job.domain.wait_reasons import Wait
from services.job.messages.enums import PRIORITY_OUT, number
from services.job.messages.to_protobuf.values import failure, timestamp, warning

#: A provider's error code that is a name, such as `rate_limit_exceeded`, and no sentence.
_CODE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def job(snapshot: Snapshot, *, public_base_url: str, generated_percent: float | None = None) -> job_pb2.Job:
    """Returns a job as clients see it; its images' URLs begin with `public_base_url`.

    `generated_percent` is its live progress, 0 to 100; None when unknown.
    """
    row, cost, queued = snapshot.job, snapshot.cost, snapshot.queue_position
    return job_pb2.Job(
        id=row.id,
        tenant=row.tenant,
        status=number(job_pb2.Status, "STATUS", row.state),
        failure=failure(row.failure),
        attempt_count=row.attempt_count,
        retry_count=row.retry_count,
        sequence=row.sequence,
        provider=row.provider,
        model=row.model,
        request=None if row.request is None else request(row.request),
        artifacts=[public_artifact(artifact, public_base_url=public_base_url) for artifact in snapshot.artifacts],
        queue_position=None if queued is None else queued.position,
        queue_position_is_exact=None if queued is None else queued.is_exact,
        cost=job_pb2.Cost(amount_micros=cost.amount_micros, currency="USD", complete=cost.complete),
        provider_cancel=number(job_pb2.ProviderCancel, "PROVIDER_CANCEL", row.provider_cancel),
        warnings=[warning(value) for value in row.warnings],
        metadata=dict(row.metadata),
        end_user=row.end_user,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.updated_at),
        started_at=timestamp(row.started_at),
        completed_at=timestamp(row.completed_at),
        trace_id=trace_id(row.traceparent),
        image_count=row.image_count,
        retry_needs_consent=snapshot.retry_needs_consent,
        run_at=timestamp(row.run_at) if row.state is State.QUEUED else None,
        wait=None if snapshot.wait is None else wait(snapshot.wait),
        generated_percent=generated_percent,
    )


def wait(value: Wait) -> job_pb2.Wait:
    """Returns why a job waits."""
    return job_pb2.Wait(
        reason=number(job_pb2.WaitReason, "WAIT_REASON", value.reason),
        next_try_at=timestamp(value.next_try_at),
        provider=value.provider,
        limit=value.limit,
        failure=failure(value.failure),
    )


def request(value: JobRequest) -> job_pb2.JobRequest:
    """Returns a request as accepted."""
    message = job_pb2.JobRequest(
        prompt=value.prompt,
        negative_prompt=value.negative_prompt,
        provider=value.provider,
        model=value.model,
        fallback=value.fallback,
        n=value.n,
        size=value.size,
        aspect_ratio=value.aspect_ratio,
        seed=value.seed,
        quality=value.quality,
        output_format=value.output_format,
        background=value.background,
        output_compression=value.output_compression,
        moderation=value.moderation,
        input_fidelity=value.input_fidelity,
        input_images=[input_image(image) for image in value.input_images],
        mask=None if value.mask is None else input_image(value.mask),
        priority=PRIORITY_OUT[Priority(value.priority)],
        start_within_seconds=value.start_within_seconds,
        finish_within_seconds=value.finish_within_seconds,
        on_ambiguous=number(job_pb2.OnAmbiguous, "ON_AMBIGUOUS", value.on_ambiguous),
        fallback_on_refusal=value.fallback_on_refusal,
        callback_url=value.callback_url,
        end_user=value.end_user,
        metadata=dict(value.metadata),
    )
    message.provider_options.update(dict(value.provider_options))
    return message


def input_image(value: InputImage) -> job_pb2.InputImage:
    """Returns an input image: its URL or, for one that was sent as bytes, its digest."""
    message = job_pb2.InputImage(content_type=value.content_type, sha256=value.sha256, size_bytes=value.size_bytes)
    if value.url is not None:
        message.url = value.url
    return message


def final_event_reference(value: FinalEventReference) -> job_service_pb2.FinalEventReference:
    """Returns the reference to a final event."""
    return job_service_pb2.FinalEventReference(
        job_id=value.job_id,
        tenant=value.tenant,
        sequence=value.sequence,
        type=value.type,
        occurred_at=timestamp(value.occurred_at),
        callback_url=value.callback_url or "",
    )


def rate(value: Rate | None) -> job_service_pb2.RequestRate | None:
    """Returns a tenant's request rate; None for None."""
    if value is None:
        return None
    return job_service_pb2.RequestRate(remaining=value.remaining, reset_seconds=value.reset_seconds)


def image(artifact: Artifact) -> artifact_pb2.ImageArtifact:
    """Returns a staged image."""
    return artifact_pb2.ImageArtifact(
        index=artifact.image_index,
        staged=artifact_pb2.StagedObject(name=artifact.staged_name, call_id=artifact.call_id),
        content_type=artifact.content_type,
        width=artifact.width,
        height=artifact.height,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        seed=artifact.seed,
        blurhash=artifact.blurhash,
        revised_prompt=artifact.revised_prompt,
        provenance=artifact_pb2.Provenance(c2pa=artifact.c2pa),
    )


def public_artifact(artifact: Artifact, *, public_base_url: str) -> job_pb2.PublicArtifact:
    """Returns a public image, without its name in staging."""
    properties = image(artifact)
    properties.ClearField("staged")
    name = artifact.public_name or artifact.own_public_name
    url = object_names.public_url(name, base_url=public_base_url)
    return job_pb2.PublicArtifact(id=artifact.id, url=url, image=properties)


def call(value: ProviderCall) -> job_pb2.ProviderCall:
    """Returns a row of the ledger, for workers and operators."""
    error = value.provider_error
    return job_pb2.ProviderCall(
        id=value.id,
        job_id=value.job_id,
        claim_number=value.claim_number,
        provider=value.provider,
        model=value.model,
        phase=number(job_pb2.CallPhase, "CALL_PHASE", value.phase),
        image_indexes=value.image_indexes,
        idempotency_key=value.idempotency_key,
        operation_id=value.operation_id or "",
        operation_state=dict(value.operation_state),
        cost_micros=value.cost_micros,
        consent=number(job_pb2.Consent, "CONSENT", value.consent),
        error=None
        if error is None
        else job_pb2.ProviderError(
            http_status=error.http_status, code=error.code, message=error.message, request_id=error.request_id
        ),
        created_at=timestamp(value.created_at),
        settled_at=timestamp(value.settled_at),
    )


def call_for_clients(value: ProviderCall) -> job_pb2.ProviderCall:
    """Returns a row of the ledger without the provider's messages, request ids and URLs, which are for operators."""
    message = call(value)
    message.ClearField("operation_state")
    if message.HasField("error"):
        code = message.error.code if _CODE_NAME.fullmatch(message.error.code) else ""
        message.error.CopyFrom(job_pb2.ProviderError(http_status=message.error.http_status, code=code))
    return message


def attempt(
    value: Attempt, ledger: Sequence[ProviderCall], call_of: Callable[[ProviderCall], job_pb2.ProviderCall]
) -> job_pb2.Attempt:
    """Returns a claim with its calls, each converted by `call_of`."""
    return job_pb2.Attempt(
        number=value.claim_number,
        stage=number(error_pb2.Stage, "STAGE", value.stage),
        worker=value.worker,
        started_at=timestamp(value.started_at),
        ended_at=timestamp(value.ended_at),
        outcome=value.outcome or "",
        failure=failure(value.failure),
        counted=value.counted,
        provider_calls=[call_of(row) for row in ledger],
    )
