"""Traces: one provider per process, W3C trace context between processes, spans as the registry declares them."""

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.logs import event
from common.telemetry import registry
from common.telemetry.kinds import Attribute, SpanType
from common.telemetry.otlp import LAST_SECONDS, TRACES_VARIABLES, is_sent, resource
from common.telemetry.span_queue import QueueLimits, SpanQueue
from common.telemetry.unrecorded_spans import UnrecordedSpans

_LOG = logging.getLogger(__name__)
_PROPAGATOR = TraceContextTextMapPropagator()
#: A traceparent as this version of the standard writes it; the propagator reads the rest, at three times the cost.
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
#: Exceptions that end work without a failure: it was given up.
_INTERRUPTIONS = (asyncio.CancelledError, GeneratorExit)
#: Values of attributes, as OpenTelemetry takes them. Those that are None or "" are left out.
Attributes = Mapping[Attribute, str | int | float | bool | None]


#: Opens spans; without a provider, those that only carry the context on.
_tracer = trace.get_tracer("calotype")
#: Opens the spans of a process that sends none; None where spans are recorded.
_unrecorded: UnrecordedSpans | None = None


@contextmanager
def tracing(service: str) -> Iterator[TracerProvider]:
    """Sets up the process's tracer; sends spans only when the environment names an OTLP endpoint.

    Leaving the context sends the queued spans, for up to `LAST_SECONDS`, and drops the rest.
    """
    provider = TracerProvider(resource=resource(service), shutdown_on_exit=False)
    queue = _queue() if is_sent(TRACES_VARIABLES) else None
    if queue is not None:
        provider.add_span_processor(queue)
    trace.set_tracer_provider(provider)
    try:
        with using(provider, is_recorded=queue is not None):
            yield provider
    finally:
        if queue is not None:
            queue.close(LAST_SECONDS)


@contextmanager
def using(provider: TracerProvider, *, is_recorded: bool = True) -> Iterator[None]:
    """Has this module open its spans with a provider in the block; asking for a tracer at each span would cost more.

    Spans that are not to be recorded only carry the trace on.
    """
    global _tracer, _unrecorded
    before, _tracer = (_tracer, _unrecorded), provider.get_tracer("calotype")
    _unrecorded = UnrecordedSpans(_tracer) if isinstance(_tracer, Tracer) and not is_recorded else None
    try:
        yield
    finally:
        _tracer, _unrecorded = before


def _queue() -> SpanQueue | None:
    # Loaded only where spans are sent: the library takes memory.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    try:
        return SpanQueue(OTLPSpanExporter(timeout=LAST_SECONDS), QueueLimits.of())
    except Exception as error:  # noqa: BLE001 - whatever the library raises for a wrong variable must stop no service
        event(_LOG, logging.ERROR, "tracing.not_exported", reason=str(error))
    return None


def traceparent() -> str | None:
    """Returns the W3C traceparent of the current span; None outside of a span."""
    return traceparent_of(trace.get_current_span())


def traceparent_of(span: Span) -> str | None:
    """Returns the W3C traceparent of a span; None for one without a trace."""
    context = span.get_span_context()
    if context == trace.INVALID_SPAN_CONTEXT:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@lru_cache(1024)
def context_from(parent: str | None) -> Context:
    """Returns a context whose current span is that of a traceparent; an empty context for None or a malformed one."""
    found = _TRACEPARENT.fullmatch(parent) if parent else None
    if found is None:
        return _PROPAGATOR.extract({"traceparent": parent} if parent else {}, context=Context())
    flags = TraceFlags(int(found[3], 16))
    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(context), Context()) if context.is_valid else Context()


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
    context = context_from(parent) if parent else None
    current = open_span(span_type, attributes or {}, context=context, links=links)
    token = attach(trace.set_span_in_context(current))
    try:
        yield current
    except BaseException as error:
        if not judges_itself:
            _note(current, error, interruptions)
        raise
    finally:
        detach(token)
        current.end()


def open_span(
    span_type: SpanType,
    attributes: Attributes,
    *,
    context: Context | None = None,
    links: Sequence[Link] = (),
    began_ns: int | None = None,
) -> Span:
    """Opens a span that does not become the current one; the caller must end it.

    It is a child of the span of `context`; None stands for the current context. `began_ns` is the time of its
    beginning in nanoseconds since 1970; None stands for now.
    """
    if _unrecorded is not None:
        return _unrecorded.open(span_type.name, context)
    return _tracer.start_span(
        span_type.title(attributes),
        context=context,
        kind=span_type.kind,
        attributes=_present(attributes),
        links=links,
        start_time=began_ns,
    )


def set_attributes(attributes: Attributes) -> None:
    """Sets attributes of the current span."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(_present(attributes))


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
