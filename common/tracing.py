"""Traces: one provider per process, W3C trace context between processes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@contextmanager
def tracing(service: str) -> Iterator[TracerProvider]:
    """Set up the process's tracer; spans leave it only when an OTLP endpoint is named in the environment.

    On exit what is still queued is sent, for at most two seconds.
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
    """The current span in W3C form, or None outside of one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def context_from(parent: str | None) -> Context:
    """A context whose current span is the named one; empty for None or nonsense."""
    return _PROPAGATOR.extract({"traceparent": parent} if parent else {}, context=Context())


def trace_id(parent: str | None) -> str:
    """The trace id of a traceparent, 32 hex characters; empty for None or nonsense."""
    context = trace.get_current_span(context_from(parent)).get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    links: Sequence[str] = (),
    attributes: Mapping[str, str | int | float | bool] | None = None,
    judges_itself: bool = False,
) -> Iterator[Span]:
    """A span around a piece of work: child of `parent`, or of the current span when that is None.

    An exception that passes marks it as an error, by its type alone: messages may hold what others should not read.
    A span that `judges_itself` has its status set by what is inside.
    """
    tracer = trace.get_tracer("calotype")
    context = context_from(parent) if parent else None
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        links=[Link(trace.get_current_span(context_from(one)).get_span_context()) for one in links],
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
    """A span that its owner ends, and that is never the current one."""
    tracer = trace.get_tracer("calotype")
    return tracer.start_span(name, context=context_from(parent), kind=kind, attributes=dict(attributes))
