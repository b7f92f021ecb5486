"""Traces: one provider per process, W3C trace context between processes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@contextmanager
def tracing(service: str) -> Iterator[TracerProvider]:
    """Sets up the process's tracer; exports spans only when the environment names an OTLP endpoint.

    Leaving the context exports the queued spans, for up to two seconds.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": f"calotype-{service}"}), shutdown_on_exit=False)
    if any(os.environ.get(name) for name in _ENDPOINTS):
        exporter = OTLPSpanExporter(timeout=2)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    try:
        yield provider
    finally:
        provider.force_flush(timeout_millis=2000)
        provider.shutdown()


def traceparent() -> str | None:
    """Returns the W3C traceparent of the current span; None outside of a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
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
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    attributes: Mapping[str, str | int | float | bool] | None = None,
    judges_itself: bool = False,
) -> Iterator[Span]:
    """Opens a span around a block: a child of `parent` (a traceparent), or of the current span when that is None.

    An exception sets the span's status to error, with its type only: its message may hold private data. With
    `judges_itself`, the code inside sets the status.
    """
    tracer = trace.get_tracer("calotype")
    context = context_from(parent) if parent else None
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=dict(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            if judges_itself:
                raise
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def open_span(
    name: str,
    *,
    kind: SpanKind,
    parent: str | None,
    attributes: Mapping[str, str | int | float | bool],
) -> Span:
    """Opens a span that never becomes the current one; the caller must end it."""
    tracer = trace.get_tracer("calotype")
    return tracer.start_span(name, context=context_from(parent), kind=kind, attributes=dict(attributes))
