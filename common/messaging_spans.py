"""Spans of messages, by the conventions for messaging; each is in the trace of the message's job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span

from common import tracing
from common.telemetry import registry
from common.telemetry.kinds import SpanType

_SYSTEM = "nats"


@contextmanager
def sending(
    span_type: SpanType, *, destination: str, message_id: str, size: int, job_id: str, parent: str | None = None
) -> Iterator[None]:
    """Opens the span of a publication; the headers that `cloud_events` makes within the block carry its context.

    `destination` is a subject, or a template such as `calotype.event.<tenant>.<job>`; `size` is the payload's, in
    bytes. `parent` is a traceparent; None stands for the current span.
    """
    attributes: tracing.Attributes = {
        registry.MESSAGING_SYSTEM: _SYSTEM,
        registry.MESSAGING_OPERATION: "send",
        registry.MESSAGING_OPERATION_TYPE: "send",
        registry.MESSAGING_TEMPLATE if "<" in destination else registry.MESSAGING_DESTINATION: destination,
        registry.MESSAGING_ID: message_id,
        registry.MESSAGING_SIZE: size,
        registry.JOB_ID: job_id,
    }
    with tracing.span(span_type, attributes, parent=parent):
        yield


def open_processing(
    *, subject: str, template: str, group: str, headers: Mapping[str, str], size: int, delivered: int
) -> Span:
    """Opens the span of a message that is processed; a child of the span that sent it.

    `template` is the subject of the consumer, `group` its name; `delivered` counts the deliveries.
    """
    attributes: tracing.Attributes = {
        registry.MESSAGING_SYSTEM: _SYSTEM,
        registry.MESSAGING_OPERATION: "process",
        registry.MESSAGING_OPERATION_TYPE: "process",
        registry.MESSAGING_DESTINATION: subject,
        registry.MESSAGING_TEMPLATE: template,
        registry.MESSAGING_ID: headers.get("Nats-Msg-Id"),
        registry.MESSAGING_SIZE: size,
        registry.MESSAGING_GROUP: group,
        registry.DELIVERIES: delivered,
    }
    context = tracing.context_from(headers.get("traceparent"))
    return tracing.open_span(registry.PROCESS_MESSAGE, attributes, context=context)


def end_processing(span: Span, verdict: str) -> None:
    """Ends the span of a processed message; `verdict` is one of those that the registry lists."""
    span.set_attribute(registry.VERDICT, verdict)
    if verdict == "reject":
        tracing.fail(verdict, span=span)
    span.end()
