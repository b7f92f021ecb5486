"""Attempts and provider calls as JSON."""

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2

from gateway.schemas.attempts import AttemptView, ProviderCallView, ProviderErrorView
from gateway.schemas.jobs import CostView
from gateway.views.job import Renderer
from gateway.views.protobuf import given, lower, moment


def attempt(one: job_pb2.Attempt, render: Renderer) -> AttemptView:
    """One claim with the calls that were begun under it."""
    failure = given(one, "failure")
    return AttemptView(
        number=one.number,
        stage=lower(error_pb2.Stage, "STAGE", one.stage),
        worker=one.worker,
        started_at=moment(one, "started_at"),
        ended_at=moment(one, "ended_at"),
        outcome=one.outcome or None,
        failure_stage=None if failure is None else lower(error_pb2.Stage, "STAGE", failure.stage),
        error=render.error(failure),
        counted=one.counted,
        provider_calls=[_call(each) for each in one.provider_calls],
    )


def _call(one: job_pb2.ProviderCall) -> ProviderCallView:
    micros = given(one, "cost_micros")
    return ProviderCallView(
        id=one.id,
        provider=one.provider,
        model=one.model,
        phase=lower(job_pb2.CallPhase, "CALL_PHASE", one.phase) or "unknown",
        operation_id=one.operation_id or None,
        image_indexes=list(one.image_indexes),
        cost=None if micros is None else CostView(amount_micros=micros, currency="USD", complete=True),
        consent=lower(job_pb2.Consent, "CONSENT", one.consent) or "none",
        provider_error=_provider_error(one.error) if one.HasField("error") else None,
        created_at=moment(one, "created_at"),
        settled_at=moment(one, "settled_at"),
    )


def _provider_error(error: job_pb2.ProviderError) -> ProviderErrorView:
    return ProviderErrorView(
        http_status=error.http_status or None,
        code=error.code or None,
        message=error.message or None,
        request_id=error.request_id or None,
    )
