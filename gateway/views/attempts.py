"""Converts attempts and provider calls to JSON views."""

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2

from gateway.schemas.attempts import AttemptView, ProviderCallView, ProviderErrorView
from gateway.schemas.jobs import CostView
from gateway.views.job import Renderer
from gateway.views.protobuf import lower_enum_name, optional, optional_time


def attempt(message: job_pb2.Attempt, render: Renderer) -> AttemptView:
    """Returns the view of an attempt with the provider calls that it started."""
    failure = optional(message, "failure")
    return AttemptView(
        number=message.number,
        stage=lower_enum_name(error_pb2.Stage, "STAGE", message.stage),
        worker=message.worker,
        started_at=optional_time(message, "started_at"),
        ended_at=optional_time(message, "ended_at"),
        outcome=message.outcome or None,
        failure_stage=None if failure is None else lower_enum_name(error_pb2.Stage, "STAGE", failure.stage),
        error=render.error(failure),
        counted=message.counted,
        provider_calls=[_provider_call(call) for call in message.provider_calls],
    )


def _provider_call(message: job_pb2.ProviderCall) -> ProviderCallView:
    cost_micros = optional(message, "cost_micros")
    return ProviderCallView(
        id=message.id,
        provider=message.provider,
        model=message.model,
        phase=lower_enum_name(job_pb2.CallPhase, "CALL_PHASE", message.phase) or "unknown",
        operation_id=message.operation_id or None,
        image_indexes=list(message.image_indexes),
        cost=None if cost_micros is None else CostView(amount_micros=cost_micros, currency="USD", complete=True),
        consent=lower_enum_name(job_pb2.Consent, "CONSENT", message.consent) or "none",
        provider_error=_provider_error(message.error) if message.HasField("error") else None,
        created_at=optional_time(message, "created_at"),
        settled_at=optional_time(message, "settled_at"),
    )


def _provider_error(error: job_pb2.ProviderError) -> ProviderErrorView:
    return ProviderErrorView(
        http_status=error.http_status or None,
        code=error.code or None,
        message=error.message or None,
        request_id=error.request_id or None,
    )
