"""Domain values as protobuf messages."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2, worker_service_pb2
from calotype.provider.v1 import provider_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from common.tracing import trace_id
from services.job.application.claims import Claimed
from services.job.domain.calls import ProviderCall
from services.job.domain.circuit_breakers import Breaker
from services.job.domain.failures import Failure
from services.job.domain.jobs import Artifact, Attempt, Cost, Job, JobWarning, Snapshot
from services.job.domain.providers import Capabilities, OptionRules, Provider
from services.job.domain.quotas import Rate
from services.job.domain.requests import InputImage, JobRequest, Priority
from services.job.domain.states import State
from services.job.domain.timeouts import StageTimeouts
from services.job.messages.enums import PRIORITY_OUT, number, reason_number
from services.job.store.settlements import Settlement


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment, or nothing."""
    if moment is None:
        return None
    written = Timestamp()
    written.FromDatetime(moment)
    return written


def job(seen: Snapshot, *, public_base_url: str) -> job_pb2.Job:
    """A job as others see it."""
    row, cost = seen.job, seen.cost
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
        artifacts=[public_artifact(one, public_base_url=public_base_url) for one in seen.artifacts],
        queue_position=seen.queue_position,
        cost=job_pb2.Cost(amount_micros=cost.amount_micros, currency="USD", complete=cost.complete),
        provider_cancel=number(job_pb2.ProviderCancel, "PROVIDER_CANCEL", row.provider_cancel),
        warnings=[warning(one) for one in row.warnings],
        metadata=dict(row.metadata),
        end_user=row.end_user,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.updated_at),
        started_at=timestamp(row.started_at),
        completed_at=timestamp(row.completed_at),
        trace_id=trace_id(row.traceparent),
        image_count=row.image_count,
        retry_needs_consent=seen.retry_needs_consent,
        run_at=timestamp(row.run_at) if row.state is State.QUEUED else None,
    )


def request(wanted: JobRequest) -> job_pb2.JobRequest:
    """A request as accepted."""
    written = job_pb2.JobRequest(
        prompt=wanted.prompt,
        negative_prompt=wanted.negative_prompt,
        provider=wanted.provider,
        model=wanted.model,
        fallback=wanted.fallback,
        n=wanted.n,
        size=wanted.size,
        aspect_ratio=wanted.aspect_ratio,
        seed=wanted.seed,
        quality=wanted.quality,
        output_format=wanted.output_format,
        background=wanted.background,
        output_compression=wanted.output_compression,
        moderation=wanted.moderation,
        input_fidelity=wanted.input_fidelity,
        input_images=[input_image(one) for one in wanted.input_images],
        mask=None if wanted.mask is None else input_image(wanted.mask),
        priority=PRIORITY_OUT[Priority(wanted.priority)],
        start_within_seconds=wanted.start_within_seconds,
        finish_within_seconds=wanted.finish_within_seconds,
        on_ambiguous=number(job_pb2.OnAmbiguous, "ON_AMBIGUOUS", wanted.on_ambiguous),
        fallback_on_refusal=wanted.fallback_on_refusal,
        callback_url=wanted.callback_url,
        end_user=wanted.end_user,
        metadata=dict(wanted.metadata),
    )
    written.provider_options.update(dict(wanted.provider_options))
    return written


def input_image(image: InputImage) -> job_pb2.InputImage:
    """An input picture: its address or, for one that came as bytes, its digest."""
    written = job_pb2.InputImage(content_type=image.content_type, sha256=image.sha256, size_bytes=image.size_bytes)
    if image.url is not None:
        written.url = image.url
    return written


def failure(one: Failure | None) -> error_pb2.Failure | None:
    """A failure, or nothing."""
    if one is None:
        return None
    return error_pb2.Failure(
        stage=number(error_pb2.Stage, "STAGE", one.stage),
        code=number(error_pb2.Code, "CODE", one.code),
        reason=reason_number(one.reason),
        message=one.message,
        retryable=one.retryable,
        retry_after_seconds=one.retry_after_seconds,
    )


def warning(one: JobWarning) -> job_pb2.Warning:
    """A warning."""
    return job_pb2.Warning(reason=reason_number(one.reason), message=one.message, image_index=one.image_index)


def rate(one: Rate | None) -> job_service_pb2.RequestRate | None:
    """How a tenant stands, where it has a rate."""
    if one is None:
        return None
    return job_service_pb2.RequestRate(remaining=one.remaining, reset_seconds=one.reset_seconds)


def image(one: Artifact) -> artifact_pb2.ImageArtifact:
    """A staged image."""
    return artifact_pb2.ImageArtifact(
        index=one.image_index,
        staged=artifact_pb2.StagedObject(name=one.staged_name, call_id=one.call_id),
        content_type=one.content_type,
        width=one.width,
        height=one.height,
        size_bytes=one.size_bytes,
        sha256=one.sha256,
        seed=one.seed,
        blurhash=one.blurhash,
        revised_prompt=one.revised_prompt,
        provenance=artifact_pb2.Provenance(c2pa=one.c2pa),
    )


def public_artifact(one: Artifact, *, public_base_url: str) -> job_pb2.PublicArtifact:
    """A public image; where it was staged is nobody's business."""
    facts = image(one)
    facts.ClearField("staged")
    return job_pb2.PublicArtifact(id=one.id, url=f"{public_base_url.rstrip('/')}/{one.public_name}", image=facts)


def call(one: ProviderCall) -> job_pb2.ProviderCall:
    """A row of the ledger."""
    error = one.provider_error
    return job_pb2.ProviderCall(
        id=one.id,
        job_id=one.job_id,
        claim_number=one.claim_number,
        provider=one.provider,
        model=one.model,
        phase=number(job_pb2.CallPhase, "CALL_PHASE", one.phase),
        image_indexes=one.image_indexes,
        idempotency_key=one.idempotency_key,
        operation_id=one.operation_id or "",
        operation_state=dict(one.operation_state),
        cost_micros=one.cost_micros,
        consent=number(job_pb2.Consent, "CONSENT", one.consent),
        error=None
        if error is None
        else job_pb2.ProviderError(
            http_status=error.http_status, code=error.code, message=error.message, request_id=error.request_id
        ),
        created_at=timestamp(one.created_at),
        settled_at=timestamp(one.settled_at),
    )


#: A vendor's code that is a name and no sentence, such as `rate_limit_exceeded`.
_VENDOR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def call_for_clients(one: ProviderCall) -> job_pb2.ProviderCall:
    """A row of the ledger without what is between the operator and the vendor: its words, ids and addresses."""
    told = call(one)
    told.ClearField("operation_state")
    if told.HasField("error"):
        code = told.error.code if _VENDOR_CODE.fullmatch(told.error.code) else ""
        told.error.CopyFrom(job_pb2.ProviderError(http_status=told.error.http_status, code=code))
    return told


def attempt(
    one: Attempt, ledger: Sequence[ProviderCall], call_of: Callable[[ProviderCall], job_pb2.ProviderCall]
) -> job_pb2.Attempt:
    """A claim with the calls that were begun under it, each as `call_of` tells it."""
    return job_pb2.Attempt(
        number=one.claim_number,
        stage=number(error_pb2.Stage, "STAGE", one.stage),
        worker=one.worker,
        started_at=timestamp(one.started_at),
        ended_at=timestamp(one.ended_at),
        outcome=one.outcome or "",
        failure=failure(one.failure),
        counted=one.counted,
        provider_calls=[call_of(each) for each in ledger],
    )


def lease(held: Job) -> worker_service_pb2.Lease:
    """The right that a claim gave."""
    assert held.lease is not None
    return worker_service_pb2.Lease(job_id=held.id, claim_number=held.claim_number, lease_token=str(held.lease.token))


def _seconds_left(claimed: Job) -> float | None:
    """Until the job should be finished, by the clock of the database that made the lease."""
    if claimed.finish_by is None or claimed.lease is None:
        return None
    return max((claimed.finish_by - claimed.lease.locked_at).total_seconds(), 0.0)


def claimed_job(claimed: Claimed, limits: StageTimeouts) -> worker_service_pb2.ClaimedJob:
    """A job in a generator's hands."""
    plain = Snapshot(job=claimed.job, artifacts=(), cost=_NO_COST)
    return worker_service_pb2.ClaimedJob(
        lease=lease(claimed.job),
        lease_seconds=limits.lease_seconds,
        job=job(plain, public_base_url=""),
        calls=[call(one) for one in claimed.calls],
        images=[image(one) for one in claimed.images],
        traceparent=claimed.job.traceparent or "",
        max_processing_seconds=limits.max_processing_seconds,
        max_generating_seconds=limits.max_generating_seconds,
        finish_seconds_left=_seconds_left(claimed.job),
        may_pay_again=claimed.may_pay_again,
        routes=[worker_service_pb2.Route(provider=one.provider, model=one.model) for one in claimed.routes],
    )


def claimed_upload(claimed: Claimed, limits: StageTimeouts) -> worker_service_pb2.ClaimedUpload:
    """A job in an uploader's hands."""
    return worker_service_pb2.ClaimedUpload(
        lease=lease(claimed.job),
        lease_seconds=limits.lease_seconds,
        images=[image(one) for one in claimed.images],
        traceparent=claimed.job.traceparent or "",
        max_uploading_seconds=limits.max_uploading_seconds,
    )


def renewal(token: str, outcome: str, limits: StageTimeouts) -> worker_service_pb2.Renewal:
    """The answer to one lease."""
    return worker_service_pb2.Renewal(
        lease_token=token,
        outcome=number(worker_service_pb2.Renewal.Outcome, "OUTCOME", outcome),
        lease_seconds=limits.lease_seconds if outcome == "renewed" else 0,
    )


def settlement(one: Settlement, limits: StageTimeouts, *, token: bytes) -> worker_service_pb2.Settlement:
    """An open call of a final job, in a worker's hands."""
    return worker_service_pb2.Settlement(
        call=call(one.call),
        call_token=token,
        lease_token=str(one.token),
        lease_seconds=limits.lease_seconds,
        cancel=one.cancel,
        keep=one.keep,
        traceparent=one.traceparent or "",
        seconds_left=one.seconds_left,
        provider_cancel=number(job_pb2.ProviderCancel, "PROVIDER_CANCEL", one.cancel_answer),
    )


def provider(one: Provider, breakers: Iterable[Breaker] = ()) -> provider_pb2.Provider:
    """An entry of the catalogue, with the models of it that get no jobs now."""
    return provider_pb2.Provider(
        name=one.name,
        kind=one.kind,
        is_default=one.is_default,
        default_model=one.default_model,
        models=[
            provider_pb2.Model(
                name=model.name,
                price_micros_per_image=model.price_micros_per_image,
                capabilities=None if model.capabilities is None else _capabilities(model.capabilities),
            )
            for model in one.models
        ],
        capabilities=_capabilities(one.capabilities),
        max_concurrency=one.max_concurrency,
        requests_per_minute=one.requests_per_minute,
        timeout_seconds=one.timeout_seconds,
        option_rules=None if one.option_rules is None else _option_rules(one.option_rules),
        outages=[_outage(breaker) for breaker in breakers if breaker.provider == one.name and breaker.opened_at],
    )


def _option_rules(told: OptionRules) -> provider_pb2.OptionRules:
    return provider_pb2.OptionRules(
        any=told.any, rules=[provider_pb2.OptionRule(**dataclasses.asdict(rule)) for rule in told.rules]
    )


def _capabilities(able: Capabilities) -> provider_pb2.Capabilities:
    return provider_pb2.Capabilities(**{name: getattr(able, name) for name in CAPABILITIES})


def _outage(breaker: Breaker) -> provider_pb2.Outage:
    told = provider_pb2.Outage(
        model=breaker.model,
        code=number(error_pb2.Code, "CODE", breaker.code),
        reason=reason_number(breaker.reason),
    )
    for name, moment in (("since", breaker.opened_at), ("next_try_at", breaker.open_until)):
        if moment is not None:
            getattr(told, name).FromDatetime(moment)
    return told


_NO_COST = Cost(amount_micros=None, complete=False)
CAPABILITIES = tuple(field.name for field in provider_pb2.Capabilities.DESCRIPTOR.fields)
