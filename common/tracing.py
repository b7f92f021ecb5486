"""Traces: one provider per process, W3C trace context between processes, spans as the registry declares them."""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.logs import event
from common.telemetry import registry
from common.telemetry.kinds import Attribute, SpanType

_LOG = logging.getLogger(__name__)
_PROPAGATOR = TraceContextTextMapPropagator()
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: Exceptions that end work without a failure: it was given up.
_INTERRUPTIONS = (asyncio.CancelledError, GeneratorExit)
#: Values of attributes, as OpenTelemetry takes them. Those that are None or "" are left out.
Attributes = Mapping[Attribute, str | int | float | bool | None]


@contextmanager
def tracing(service: str) -> Iterator[TracerProvider]:
    """Sets up the process's tracer; exports spans only when the environment names an OTLP endpoint.

    Leaving the context exports the queued spans, for up to two seconds.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": f"calotype-{service}"}), shutdown_on_exit=False)
    if any(os.environ.get(name) for name in _ENDPOINTS):
        _export(provider)
    trace.set_tracer_provider(provider)
    try:
        yield provider
    finally:
        provider.force_flush(timeout_millis=2000)
        provider.shutdown()


def _export(provider: TracerProvider) -> None:
    try:
        exporter = OTLPSpanExporter(timeout=2)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    except Exception as error:  # noqa: BLE001 - whatever the library raises for a wrong variable must stop no service
        event(_LOG, logging.ERROR, "tracing.not_exported", reason=str(error))


def traceparent() -> str | None:
    """Returns the W3C traceparent of the current span; None outside of a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def traceparent_of(span: Span) -> str | None:
    """Returns the W3C traceparent of a span; None for one without a trace."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent")


def context_from(parent: str | None) -> Context:
    """Returns a context whose current span is that of a traceparent; an empty context for None or a malformed one."""
    return _PROPAGATOR.extract({"traceparent": parent} if parent else {}, context=Context())


def trace_id(parent: str | None) -> str:
    """Returns the trace id of a traceparent, 32 hex characters; empty for None or a malformed one."""
    context = trace.get_current_span(context_from(parent)).get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


@contextmanager
def span(
    span_type: SpanType,
    attributes: Attributes | None = None,
    *,
    parent: str | None = None,
    links: Sequence[Link] = (),
    interruptions: tuple[type[BaseException], ...] = (),
    judges_itself: bool = False,
) -> Iterator[Span]:
    """Opens a span around a block: a child of `parent` (a traceparent), or of the current span when that is None.

    An exception sets the span's status to error, with its reason or type only: its message may hold private data.
    `interruptions` and the cancellation of the task only mark the span as interrupted. With `judges_itself`, the code
    inside sets the status.
    """
    with trace.get_tracer("calotype").start_as_current_span(
        span_type.title(attributes or {}),
        context=context_from(parent) if parent else None,
        kind=span_type.kind,
        attributes=_present(attributes),
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            if not judges_itself:
                _note(current, error, interruptions)
            raise


def open_span(span_type: SpanType, attributes: Attributes, *, context: Context | None = None) -> Span:
    """Opens a span that does not become the current one; the caller must end it.

    It is a child of the span of `context`; None stands for the current context.
    """
    return trace.get_tracer("calotype").start_span(
        span_type.title(attributes), context=context, kind=span_type.kind, attributes=_present(attributes)
    )


def set_attributes(attributes: Attributes) -> None:
    """Sets attributes of the current span."""
    trace.get_current_span().set_attributes(_present(attributes))


def fail(error_type: str, *, span: Span | None = None, stage: str | None = None) -> None:
    """Marks a span, or the current one, as failed; `error_type` is a reason, a status code or the name of a class."""
    failed = trace.get_current_span() if span is None else span
    failed.set_status(Status(StatusCode.ERROR, error_type))
    failed.set_attribute(registry.ERROR_TYPE, error_type)
    if stage:
        failed.set_attribute(registry.ERROR_STAGE, stage)


def interrupt() -> None:
    """Marks the current span as interrupted: its work was given up, which is no failure."""
    trace.get_current_span().set_attribute(registry.INTERRUPTED, True)


def link_to(parent: str | None) -> tuple[Link, ...]:
    """Returns a link to the span of a traceparent; none for None or a malformed one."""
    context = trace.get_current_span(context_from(parent)).get_span_context()
    return (Link(context),) if context.is_valid else ()


def _note(span: Span, error: BaseException, interruptions: tuple[type[BaseException], ...]) -> None:
    if isinstance(error, (*_INTERRUPTIONS, *interruptions)):
        span.set_attribute(registry.INTERRUPTED, True)
    else:
        fail(str(getattr(error, "reason", "")) or type(error).__name__, span=span)


def _present(attributes: Attributes | None) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in (attributes or {}).items() if value is not None and value != ""}
