"""A job as protobuf becomes a job as JSON."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2

from common import structs
from gateway.auth.client_tokens import Grant
from gateway.problems.reasons import slug
from gateway.schemas.jobs import (
    ArtifactView,
    CostView,
    ErrorView,
    InputImageView,
    JobView,
    LinksView,
    ProgressView,
    RequestView,
    WarningView,
)
from gateway.views.display import JobCondition, display
from gateway.views.job_for_token import for_holder
from gateway.views.locales import SOURCE
from gateway.views.protobuf import given, lower, moment, name, sure_moment


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Renders for one client: links begin with the address that it used; `now` decides when to poll again; words
    are in its language.

    The holder of a client token's `grant` sees what its job is and what it may do itself, and nothing that is between
    the tenant and the service.
    """

    root: str
    now: datetime
    grant: Grant | None = None
    locale: str = SOURCE

    def job(self, job: job_pb2.Job) -> JobView:
        """A job, every key present."""
        view = self._whole(job)
        return view if self.grant is None else for_holder(view, self.grant)

    def _whole(self, job: job_pb2.Job) -> JobView:
        status = lower(job_pb2.Status, "STATUS", job.status)
        failure = given(job, "failure")
        created_at, updated_at = sure_moment(job, "created_at"), sure_moment(job, "updated_at")
        # A job that a user retries is young again.
        since = updated_at if job.retry_count else created_at
        return JobView(
            id=job.id,
            status=status,
            failure_stage=_stage(failure),
            error=self.error(failure),
            attempt_count=job.attempt_count,
            retry_count=job.retry_count,
            sequence=job.sequence,
            provider=job.provider,
            model=job.model,
            request=_request(job.request) if job.HasField("request") else None,
            artifacts=[_artifact(one) for one in job.artifacts],
            display=display(_standing(job, status), age_seconds=(self.now - since).total_seconds(), locale=self.locale),
            queue_position=given(job, "queue_position"),
            cost=CostView(
                amount_micros=given(job.cost, "amount_micros"),
                currency=job.cost.currency or "USD",
                complete=job.cost.complete,
            ),
            provider_cancel=lower(job_pb2.ProviderCancel, "PROVIDER_CANCEL", job.provider_cancel),
            warnings=[_warning(one) for one in job.warnings],
            metadata=dict(sorted(job.metadata.items())),
            end_user=given(job, "end_user"),
            created_at=created_at,
            updated_at=updated_at,
            started_at=moment(job, "started_at"),
            completed_at=moment(job, "completed_at"),
            links=self._links(job.id),
        )

    def error(self, failure: error_pb2.Failure | None) -> ErrorView | None:
        """A failure, or nothing."""
        if failure is None:
            return None
        reason = name(error_pb2.Reason, "REASON", failure.reason) or "UNCLASSIFIED"
        return ErrorView(
            code=cast("Any", name(error_pb2.Code, "CODE", failure.code) or "UNKNOWN"),
            reason=reason,
            message=failure.message,
            retryable=failure.retryable,
            retry_after_seconds=given(failure, "retry_after_seconds"),
            docs_url=f"{self.root}/problems/{slug(reason)}",
        )

    def _links(self, job_id: str) -> LinksView:
        itself = f"{self.root}/v1/jobs/{job_id}"
        return LinksView(
            self=itself,
            events=f"{itself}/events",
            cancel=f"{itself}/cancel",
            retry=f"{itself}/retry",
            attempts=f"{itself}/attempts",
            trace=None,
        )


def progress(told: job_service_pb2.Progress) -> ProgressView:
    """Live word from a provider."""
    return ProgressView(
        percent=max(0.0, min(told.percent, 100.0)),
        step=told.step or None,
        steps=told.steps or None,
        message=told.message or None,
    )


def _standing(job: job_pb2.Job, status: Any) -> JobCondition:
    failure = given(job, "failure")
    return JobCondition(
        status=status,
        failure_stage=_stage(failure),
        code=None if failure is None else cast("Any", name(error_pb2.Code, "CODE", failure.code)),
        reason=None if failure is None else name(error_pb2.Reason, "REASON", failure.reason),
        provider_cancel=lower(job_pb2.ProviderCancel, "PROVIDER_CANCEL", job.provider_cancel),
        images_missing=len(job.artifacts) < job.image_count,
        retry_needs_consent=job.retry_needs_consent,
    )


def _stage(failure: error_pb2.Failure | None) -> Any:
    return None if failure is None else lower(error_pb2.Stage, "STAGE", failure.stage)


def _request(request: job_pb2.JobRequest) -> RequestView:
    optional = ("negative_prompt", "provider", "model", "size", "aspect_ratio", "seed", "quality", "output_format")
    fine = ("background", "output_compression", "moderation", "input_fidelity")
    more = ("start_within_seconds", "finish_within_seconds", "callback_url", "end_user")
    return RequestView(
        prompt=request.prompt,
        **{field: given(request, field) for field in (*optional, *fine, *more)},
        fallback=list(request.fallback),
        n=request.n or 1,
        input_images=[_input_image(one) for one in request.input_images],
        mask=_input_image(request.mask) if request.HasField("mask") else None,
        provider_options=structs.plain(request.provider_options),
        priority=lower(job_pb2.Priority, "PRIORITY", request.priority) or "normal",
        on_ambiguous=lower(job_pb2.OnAmbiguous, "ON_AMBIGUOUS", request.on_ambiguous) or "fail",
        fallback_on_refusal=request.fallback_on_refusal,
        metadata=dict(sorted(request.metadata.items())),
    )


def _input_image(image: job_pb2.InputImage) -> InputImageView:
    return InputImageView(
        url=image.url if image.WhichOneof("source") == "url" else None,
        sha256=image.sha256 or None,
        content_type=image.content_type or None,
        size_bytes=image.size_bytes or None,
    )


def _artifact(one: job_pb2.PublicArtifact) -> ArtifactView:
    image = one.image
    return ArtifactView(
        id=one.id,
        index=image.index,
        url=one.url,
        content_type=image.content_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        blurhash=image.blurhash,
        seed=given(image, "seed"),
        revised_prompt=given(image, "revised_prompt"),
    )


def _warning(one: job_pb2.Warning) -> WarningView:
    return WarningView(
        reason=name(error_pb2.Reason, "REASON", one.reason) or "UNCLASSIFIED",
        message=one.message,
        image_index=given(one, "image_index"),
    )
