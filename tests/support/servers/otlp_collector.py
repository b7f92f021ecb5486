"""An OTLP collector that keeps the spans it is sent."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True, kw_only=True)
class SeenSpan:
    """The fields of a span that tests read."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans, and lets tests wait for those they expect."""

    def __init__(self) -> None:
        self._spans: list[SeenSpan] = []
        self._raw: list[bytes] = []
        self._changed = threading.Condition()
        self.url = ""

    def Export(self, request: Any, context: Any) -> Any:
        """Stores spans."""
        with self._changed:
            for resource in request.resource_spans:
                attributes = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
                self._raw.append(resource.SerializeToString())
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self._spans.append(_seen(attributes["service.name"], span))
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def hold(self, text: str, *, seconds: float = 0.0) -> bool:
        """Returns whether a text occurs anywhere in the spans: in names, attributes, events, statuses."""
        with self._changed:
            return self._changed.wait_for(lambda: any(text.encode() in raw for raw in self._raw), timeout=seconds)

    def wait_for(self, named: set[tuple[str, str]], *, trace_id: str, seconds: float) -> list[SeenSpan]:
        """The trace's spans, once those of these services and names have come; they come in any order."""

        def spans_of_trace() -> list[SeenSpan]:
            return [span for span in self._spans if span.trace_id == trace_id]

        with self._changed:
            self._changed.wait_for(
                lambda: named <= {(span.service, span.name) for span in spans_of_trace()}, timeout=seconds
            )
            return spans_of_trace()


def _seen(service: str, span: Any) -> SeenSpan:
    return SeenSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        is_error=span.status.code == 2,
    )


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port of this machine."""
    servicer = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    servicer.url = f"http://127.0.0.1:{port}"
    yield servicer
    server.stop(0).wait()
