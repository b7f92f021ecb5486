"""Converts a job from protobuf to its JSON view."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code, Reason
from calotype.job.v1 import job_pb2

from common import structs
from common.telemetry import trace_links
from gateway.auth.client_tokens import Grant
from gateway.problems.reasons import slug
from gateway.schemas.jobs import (
    ArtifactView,
    CostView,
    DisplayView,
    ErrorView,
    InputImageView,
    JobView,
    LinksView,
    RequestView,
    WaitView,
    WarningView,
)
from gateway.views.display import JobCondition, display
from gateway.views.job_for_token import for_holder
from gateway.views.locales import SOURCE
from gateway.views.progress import ProgressBars
from gateway.views.protobuf import failure_code, failure_reason, lower_enum_name, optional, optional_time, required_time

#: Fields of a request that are null in the view if the client left them out.
_OPTIONAL_FIELDS = (
    *("negative_prompt", "provider", "model", "size", "aspect_ratio", "seed", "quality", "output_format"),
    *("background", "output_compression", "moderation", "input_fidelity"),
    *("start_within_seconds", "finish_within_seconds", "callback_url", "end_user"),
)


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Converts jobs for one client."""

    root: str
    """Scheme and host that the client used, without a trailing slash; all links begin with it."""
    now: datetime
    """Time of the request, from which the age of a job and so its polling interval follow."""
    grant: Grant | None = None
    """Grant of the client token; None: the client has a key and sees the tenant's private data too."""
    locale: str = SOURCE
    """Language of titles and messages."""
    trace_url: str | None = None
    """Address of a trace with `{trace_id}` for its id; None: there is no such link."""
    bars: ProgressBars | None = None
    """Positions of the progress bars of running jobs; None: a bar has the position of the job's state."""

    def job(self, job: job_pb2.Job) -> JobView:
        """Returns the view of a job; all keys are present, with null for missing values."""
        view = self._complete(job)
        return view if self.grant is None else for_holder(view, self.grant)

    def _complete(self, job: job_pb2.Job) -> JobView:
        status = lower_enum_name(job_pb2.Status, "STATUS", job.status)
        failure = optional(job, "failure")
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
            artifacts=[_artifact(artifact) for artifact in job.artifacts],
            display=self._display(job, status),
            queue_position=optional(job, "queue_position"),
            queue_position_is_exact=optional(job, "queue_position_is_exact"),
            wait=self._wait(job.wait),
            cost=CostView(
                amount_micros=optional(job.cost, "amount_micros"),
                currency=job.cost.currency or "USD",
                complete=job.cost.complete,
            ),
            provider_cancel=lower_enum_name(job_pb2.ProviderCancel, "PROVIDER_CANCEL", job.provider_cancel),
            warnings=[_warning(warning) for warning in job.warnings],
            metadata=dict(sorted(job.metadata.items())),
            end_user=optional(job, "end_user"),
            created_at=required_time(job, "created_at"),
            updated_at=required_time(job, "updated_at"),
            started_at=optional_time(job, "started_at"),
            completed_at=optional_time(job, "completed_at"),
            links=self._links(job),
        )

    def _display(self, job: job_pb2.Job, status: Any) -> DisplayView:
        # A retry counts as a new start, so that the client polls often again.
        young_since = required_time(job, "updated_at" if job.retry_count else "created_at")
        shown = display(
            _condition(job, status),
            age_seconds=(self.now - young_since).total_seconds(),
            next_try_at=optional_time(job.wait, "next_try_at"),
            locale=self.locale,
        )
        return shown if self.bars is None else self.bars.refine(job, shown)

    def error(self, failure: error_pb2.Failure | None) -> ErrorView | None:
        """Returns the view of a failure; None for None."""
        if failure is None:
            return None
        reason = failure_reason(failure.reason) or Reason.UNCLASSIFIED
        return ErrorView(
            code=failure_code(failure.code) or Code.UNKNOWN,
            reason=reason,
            message=failure.message,
            retryable=failure.retryable,
            retry_after_seconds=optional(failure, "retry_after_seconds"),
            docs_url=f"{self.root}/problems/{slug(reason)}",
        )

    def _wait(self, wait: job_pb2.Wait) -> WaitView | None:
        reason = lower_enum_name(job_pb2.WaitReason, "WAIT_REASON", wait.reason)
        if reason is None:
            return None
        failure = optional(wait, "failure")
        return WaitView(
            reason=reason,
            next_try_at=optional_time(wait, "next_try_at"),
            provider=wait.provider or None,
            limit=wait.limit or None,
            stage=_stage(failure),
            error=self.error(failure),
        )

    def _links(self, job: job_pb2.Job) -> LinksView:
        job_url = f"{self.root}/v1/jobs/{job.id}"
        return LinksView(
            self=job_url,
            events=f"{job_url}/events",
            cancel=f"{job_url}/cancel",
            retry=f"{job_url}/retry",
            attempts=f"{job_url}/attempts",
            # Traces are for those who run the installation, and for tenants, not for their users.
            trace=trace_links.link(self.trace_url, job.trace_id) if self.grant is None else None,
        )


def _condition(job: job_pb2.Job, status: Any) -> JobCondition:
    failure = optional(job, "failure")
    return JobCondition(
        status=status,
        failure_stage=_stage(failure),
        code=None if failure is None else failure_code(failure.code),
        reason=None if failure is None else failure_reason(failure.reason),
        provider_cancel=lower_enum_name(job_pb2.ProviderCancel, "PROVIDER_CANCEL", job.provider_cancel),
        wait=lower_enum_name(job_pb2.WaitReason, "WAIT_REASON", job.wait.reason),
        images_missing=len(job.artifacts) < job.image_count,
        retry_needs_consent=job.retry_needs_consent,
    )


def _stage(failure: error_pb2.Failure | None) -> Any:
    return None if failure is None else lower_enum_name(error_pb2.Stage, "STAGE", failure.stage)


def _request(request: job_pb2.JobRequest) -> RequestView:
    return RequestView(
        prompt=request.prompt,
        **{field: optional(request, field) for field in _OPTIONAL_FIELDS},
        fallback=list(request.fallback),
        n=request.n or 1,
        input_images=[_input_image(image) for image in request.input_images],
        mask=_input_image(request.mask) if request.HasField("mask") else None,
        provider_options=structs.plain(request.provider_options),
        priority=lower_enum_name(job_pb2.Priority, "PRIORITY", request.priority) or "normal",
        on_ambiguous=lower_enum_name(job_pb2.OnAmbiguous, "ON_AMBIGUOUS", request.on_ambiguous) or "fail",
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


def _artifact(artifact: job_pb2.PublicArtifact) -> ArtifactView:
    image = artifact.image
    return ArtifactView(
        id=artifact.id,
        index=image.index,
        url=artifact.url,
        content_type=image.content_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        blurhash=image.blurhash,
        seed=optional(image, "seed"),
        revised_prompt=optional(image, "revised_prompt"),
    )


def _warning(warning: job_pb2.Warning) -> WarningView:
    return WarningView(
        reason=failure_reason(warning.reason) or Reason.UNCLASSIFIED,
        message=warning.message,
        image_index=optional(warning, "image_index"),
    )
