"""Converts all that is known of one job to its JSON view for operators."""

from collections.abc import Sequence

from calotype.job.v1 import job_pb2
from calotype.notifier.v1 import webhook_service_pb2 as notifier
from calotype.ops.v1 import queue_service_pb2

from gateway.problems.problem import Problem
from gateway.schemas.any_job import (
    AnyJobView,
    JobDeliveriesView,
    JobEventView,
    LeaseView,
    OperatorLinksView,
)
from gateway.views import webhooks
from gateway.views.attempts import attempt
from gateway.views.job import Renderer
from gateway.views.job_summary import summary
from gateway.views.protobuf import lower_enum_name, required_time

#: Deliveries of one job that are listed.
MAX_DELIVERIES = 100


def any_job(
    response: queue_service_pb2.GetAnyJobResponse,
    deliveries: notifier.ListDeliveriesResponse | Problem,
    render: Renderer,
    *,
    board_url: str | None,
) -> AnyJobView:
    """Returns the view; `deliveries` is the problem of a notifier that did not respond.

    `board_url` may contain `{job_id}` and `{trace_id}`; None without a dashboard.
    """
    job, attempts = render.job(response.job), [attempt(message, render) for message in response.attempts]
    sent = _deliveries(response.job.id, deliveries)
    return AnyJobView(
        tenant=response.tenant,
        summary=summary(job, attempts, sent.deliveries),
        job=job,
        attempts=attempts,
        lease=_lease(response.lease) if response.HasField("lease") else None,
        events=[_event(event) for event in response.events],
        has_older_events=response.has_older_events,
        deliveries=sent,
        trace_id=response.job.trace_id or None,
        links=OperatorLinksView(trace=job.links.trace, board=_board(board_url, response.job)),
    )


def _board(template: str | None, job: job_pb2.Job) -> str | None:
    if template is None:
        return None
    return template.replace("{job_id}", job.id).replace("{trace_id}", job.trace_id)


def _deliveries(job_id: str, found: notifier.ListDeliveriesResponse | Problem) -> JobDeliveriesView:
    if isinstance(found, Problem):
        return JobDeliveriesView(available=False, problem=found.detail, deliveries=[], has_more=False)
    # An older notifier does not know the filter by job, and returns those of other jobs.
    own: Sequence[notifier.Delivery] = [delivery for delivery in found.deliveries if delivery.job_id == job_id]
    return JobDeliveriesView(
        available=True,
        problem=None,
        deliveries=[webhooks.delivery(delivery) for delivery in own],
        has_more=bool(found.next_page_token) and len(own) == len(found.deliveries),
    )


def _lease(message: queue_service_pb2.JobLease) -> LeaseView:
    return LeaseView(
        worker=message.worker,
        claim_number=message.claim_number,
        locked_at=required_time(message, "locked_at"),
        expires_at=required_time(message, "expires_at"),
    )


def _event(message: queue_service_pb2.JobEvent) -> JobEventView:
    return JobEventView(
        sequence=message.sequence,
        type=message.type,
        status=lower_enum_name(job_pb2.Status, "STATUS", message.status),
        occurred_at=required_time(message, "occurred_at"),
    )
