"""Spans of what users do with a job: in the job's trace, linked with those of the requests."""

from opentelemetry import trace

from common import tracing
from common.telemetry import registry
from services.job.application.submission import ActionResult
from services.job.domain.states import Transition


def note_user_action(done: ActionResult, transition: Transition) -> None:
    """Notes a user's action in the trace of the job, unless the request changed nothing.

    The request has a trace of its own. Its span and that of the action link to each other.
    """
    job, request = done.snapshot.job, trace.get_current_span()
    if done.replayed or done.is_unchanged or job.traceparent is None:
        return
    attributes: tracing.Attributes = {registry.JOB_ID: job.id, registry.TRANSITION: transition}
    links = tracing.link_to(tracing.traceparent())
    with tracing.span(registry.USER_ACTION, attributes, parent=job.traceparent, links=links) as action:
        request.add_link(action.get_span_context())
