"""An OTLP collector that keeps spans and metrics, and refuses spans that the registry does not declare."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.trace import SpanKind, StatusCode

from common.telemetry import registry
from common.telemetry.kinds import Attribute, SpanType
from tests.support.servers.otlp_metrics import MetricCollector

SPAN_TYPES = tuple(value for value in vars(registry).values() if isinstance(value, SpanType))
#: Python's type of each type of attribute.
_TYPES = {"string": str, "int": int, "double": float, "boolean": bool}


@dataclass(frozen=True, kw_only=True)
class SeenSpan:
    """The fields of a span that tests read."""

    service: str
    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str
    status: StatusCode
    attributes: Mapping[str, str | int | float | bool]
    #: Trace and span ids.
    links: Sequence[tuple[str, str]]

    @property
    def is_error(self) -> bool:
        """Whether its work failed."""
        return self.status is StatusCode.ERROR


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans, and lets tests wait for those they expect."""

    def __init__(self) -> None:
        self._spans: list[SeenSpan] = []
        self._raw: list[bytes] = []
        self._changed = threading.Condition()
        self.url = ""
        #: What is not in the registry.
        self.violations: list[str] = []
        #: The metrics that came.
        self.metrics = MetricCollector(self.violations)

    def Export(self, request: Any, context: Any) -> Any:
        """Stores spans; refuses a request with one that is not declared."""
        refused: list[str] = []
        with self._changed:
            for resource in request.resource_spans:
                attributes = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
                self._raw.append(resource.SerializeToString())
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        seen = _seen(attributes["service.name"], span)
                        self._spans.append(seen)
                        refused += violations(seen)
                        refused += [f"{seen.name}: event {event.name}" for event in span.events]
            self.violations += refused
            self._changed.notify_all()
        if refused:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(refused))
        return trace_service_pb2.ExportTraceServiceResponse()

    def hold(self, text: str, *, seconds: float = 0.0) -> bool:
        """Returns whether a text occurs anywhere in the spans: in names, attributes, events, statuses."""
        with self._changed:
            return self._changed.wait_for(lambda: any(text.encode() in raw for raw in self._raw), timeout=seconds)

    def of_trace(self, trace_id: str) -> list[SeenSpan]:
        """Returns the spans of a trace that have come."""
        with self._changed:
            return [span for span in self._spans if span.trace_id == trace_id]

    def wait_for(self, named: set[tuple[str, str]], *, trace_id: str, seconds: float) -> list[SeenSpan]:
        """The trace's spans, once those of these services and names have come; they come in any order."""

        def spans_of_trace() -> list[SeenSpan]:
            return [span for span in self._spans if span.trace_id == trace_id]

        with self._changed:
            self._changed.wait_for(
                lambda: named <= {(span.service, span.name) for span in spans_of_trace()}, timeout=seconds
            )
            return spans_of_trace()


def violations(span: SeenSpan) -> list[str]:
    """Returns in what a span differs from the registry; nothing for one that it declares."""
    service, found = span.service.removeprefix("calotype-"), {Attribute(k, ""): v for k, v in span.attributes.items()}
    fitting = [
        declared
        for declared in SPAN_TYPES
        if service in declared.services and span.kind is declared.kind and span.name == declared.title(found)
    ]
    if not fitting:
        return [f"{service} declares no span {span.name!r} of kind {span.kind.name}"]
    return min(([*_undeclared(declared, span)] for declared in fitting), key=len)


def _undeclared(declared: SpanType, span: SeenSpan) -> Iterator[str]:
    known = {str(attribute): attribute for attribute in declared.attributes}
    for name, value in span.attributes.items():
        attribute = known.get(name)
        if attribute is None:
            yield f"{span.name}: attribute {name}"
        elif type(value) is not _TYPES[attribute.type]:
            yield f"{span.name}: {name} is {value!r}, not a {attribute.type}"
        elif attribute.values and value not in attribute.values:
            yield f"{span.name}: {name} is {value!r}"


def _seen(service: str, span: Any) -> SeenSpan:
    return SeenSpan(
        service=service,
        name=span.name,
        # OTLP counts kinds from 1; 0 is unspecified.
        kind=SpanKind(span.kind - 1),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        status=StatusCode(span.status.code),
        attributes={attribute.key: _value(attribute.value) for attribute in span.attributes},
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
    )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port of this machine."""
    servicer = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(servicer.metrics, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    servicer.url = f"http://127.0.0.1:{port}"
    yield servicer
    server.stop(0).wait()
