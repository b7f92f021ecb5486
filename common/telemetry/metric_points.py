"""Metrics as OTLP has them, from the families of prometheus_client: the same names, labels, buckets and exemplars."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

from common.telemetry.metrics import DECLARED

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_SCOPE = InstrumentationScope("calotype")
#: Prometheus calls a family of counters by its name without this.
_TOTAL = "_total"


def metrics_data(families: Iterable[Family], *, resource: Resource, began_ns: int, now_ns: int) -> MetricsData:
    """Returns the values of the families at a time; `began_ns` is when the counters were zero. Both are since 1970."""
    found = [_metric(family, began_ns, now_ns) for family in families if family.samples]
    scope = ScopeMetrics(scope=_SCOPE, metrics=found, schema_url="")
    return MetricsData(resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _metric(family: Family, began_ns: int, now_ns: int) -> Metric:
    name = f"{family.name}{_TOTAL}" if family.type == "counter" else family.name
    unit = DECLARED[name].unit if name in DECLARED else ""
    if family.type == "histogram":
        points = [_histogram(samples, began_ns, now_ns) for samples in _series(family.samples)]
        return Metric(name, family.documentation, unit, Histogram(points, _CUMULATIVE))
    numbers = [_number(sample, began_ns, now_ns) for sample in family.samples]
    if family.type == "counter":
        return Metric(name, family.documentation, unit, Sum(numbers, _CUMULATIVE, is_monotonic=True))
    return Metric(name, family.documentation, unit, Gauge(numbers))


def _number(sample: Sample, began_ns: int, now_ns: int) -> NumberDataPoint:
    return NumberDataPoint(sample.labels, began_ns, now_ns, sample.value, [*_exemplar(sample, now_ns)])


def _series(samples: Iterable[Sample]) -> Iterator[Sequence[Sample]]:
    """Yields the samples of each series of a histogram: its buckets, its count and its sum, in this order."""
    series: list[Sample] = []
    for sample in samples:
        series.append(sample)
        if sample.name.endswith("_sum"):
            yield series
            series = []


def _histogram(samples: Sequence[Sample], began_ns: int, now_ns: int) -> HistogramDataPoint:
    *buckets, count, total = samples
    # Prometheus counts the values up to each bound, OTLP those between two bounds.
    counts = [int(bucket.value) for bucket in buckets]
    between = [here - below for here, below in zip(counts, [0, *counts], strict=False)]
    bounds = [float(bucket.labels["le"]) for bucket in buckets[:-1]]
    exemplars = [exemplar for bucket in buckets for exemplar in _exemplar(bucket, now_ns)]
    unknown = cast("float", None)
    return HistogramDataPoint(
        count.labels, began_ns, now_ns, int(count.value), total.value, between, bounds, unknown, unknown, exemplars
    )


def _exemplar(sample: Sample, now_ns: int) -> Iterator[Exemplar]:
    found: Any = sample.exemplar
    if found is not None:
        at_ns = int(found.timestamp * 1e9) if found.timestamp is not None else now_ns
        trace_id, span_id = int(found.labels["trace_id"], 16), int(found.labels["span_id"], 16)
        yield Exemplar({}, found.value, at_ns, span_id, trace_id)
