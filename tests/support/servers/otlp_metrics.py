"""Keeps the metrics that an OTLP collector is sent, and names those that the registry does not declare so."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from common.telemetry.kinds import Metric
from common.telemetry.metrics import DECLARED, OTHER

OF_PYTHON = ("process_", "python_")
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_KINDS = {"sum": "counter", "gauge": "gauge", "histogram": "histogram"}
#: A series: service, name of the metric, labels.
Series = tuple[str, str, frozenset[tuple[str, str]]]


class MetricCollector(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the last value of each series: of a histogram, how many values it counted."""

    def __init__(self, violations: list[str]) -> None:
        self._values: dict[Series, float] = {}
        self._changed = threading.Condition()
        self._violations = violations
        #: Trace ids of exemplars.
        self.exemplars: set[str] = set()

    def Export(self, request: Any, context: Any) -> Any:
        """Stores metrics; notes what is not declared."""
        with self._changed:
            for sent in request.resource_metrics:
                resource = {attribute.key: attribute.value.string_value for attribute in sent.resource.attributes}
                service = resource["service.name"].removeprefix("calotype-")
                if not resource.get("service.instance.id"):
                    self._violations.append(f"{service} names no instance")
                for metric in (metric for scope in sent.scope_metrics for metric in scope.metrics):
                    self._violations += violations(service, metric)
                    self._keep(service, metric)
            self._changed.notify_all()
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def _keep(self, service: str, metric: Any) -> None:
        for point in _points(metric):
            value = point.count if metric.HasField("histogram") else point.as_double
            self._values[service, metric.name, frozenset(_labels(point).items())] = value
            self.exemplars |= {exemplar.trace_id.hex() for exemplar in point.exemplars}

    def names(self, service: str) -> set[str]:
        """Returns the names of the metrics that a service sent."""
        with self._changed:
            return {name for of, name, _ in self._values if of == service}

    def wait_for(self, service: str, name: str, labels: Mapping[str, str], *, seconds: float) -> float:
        """Waits until a series with these labels, and perhaps others, is above 0; returns the sum of all such."""

        def value() -> float:
            return sum(
                found
                for (of, called, having), found in self._values.items()
                if (of, called) == (service, name) and labels.items() <= dict(having).items()
            )

        with self._changed:
            self._changed.wait_for(lambda: value() > 0, timeout=seconds)
            return value()


def violations(service: str, metric: Any) -> Iterator[str]:
    """Yields in what a metric differs from the registry; nothing for one that it declares."""
    if metric.name.startswith(OF_PYTHON):
        return
    declared = DECLARED.get(metric.name)
    if declared is None or service not in declared.services:
        yield f"{service} declares no metric {metric.name}"
        return
    if (_KINDS.get(metric.WhichOneof("data")), metric.unit) != (declared.kind, declared.unit):
        yield f"{metric.name} is a {metric.WhichOneof('data')} in {metric.unit}"
    if declared.kind != "gauge" and getattr(metric, metric.WhichOneof("data")).aggregation_temporality != _CUMULATIVE:
        yield f"{metric.name} is not cumulative"
    for point in _points(metric):
        yield from _of_point(declared, point)


def _of_point(declared: Metric, point: Any) -> Iterator[str]:
    labels = _labels(point)
    if set(labels) != set(declared.labels):
        yield f"{declared.name} has the labels {sorted(labels)}"
    for label in declared.labels:
        if label.values and labels.get(label) not in (*label.values, OTHER):
            yield f"{declared.name}: {label} is {labels.get(label)!r}"
    if declared.kind == "histogram":
        if tuple(point.explicit_bounds) != declared.buckets:
            yield f"{declared.name} has the bounds {[*point.explicit_bounds]}"
        if sum(point.bucket_counts) != point.count:
            yield f"{declared.name} has {point.count} values, and {[*point.bucket_counts]} in its buckets"


def _points(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data")).data_points


def _labels(point: Any) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in point.attributes}
