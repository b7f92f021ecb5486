"""Metrics of this process: instruments are made from the registry's declarations, each when it is first used."""

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any

from opentelemetry import trace
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import Metric as Family

from common.telemetry import registry
from common.telemetry.kinds import Metric

#: Value of a label that is not among the declared ones, and of all labels of a metric with too many series.
OTHER = "other"
#: Series of one metric in one process; what comes after is counted under `OTHER`.
MAX_SERIES = 1_000
#: Series that are exported as zero from the start, where all values of all labels are declared.
MAX_ZEROS = 128
#: Shortest pause between two exemplars of a counter, or of a histogram's bucket: a scrape shows the last one only, and
#: an exemplar costs ten times what its value does.
EXEMPLAR_SECONDS = 1.0
#: Every declared metric, by name.
DECLARED: Mapping[str, Metric] = {found.name: found for found in vars(registry).values() if isinstance(found, Metric)}
_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class Instruments:
    """Instruments in a separate registry; all methods may be called from any thread."""

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._by_name: dict[str, _Instrument] = {}
        self._lock = Lock()
        self._max_series = max_series
        self._has_process = False

    def add(self, *metrics: Metric) -> None:
        """Makes instruments, so that they are exported before they are first used."""
        for metric in metrics:
            self._instrument(metric).start_at_zero()

    def add_process(self) -> None:
        """Adds the process's memory, processor time and open files (on Linux), and Python's garbage collections."""
        if not self._has_process:
            self._has_process = True
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self._registry)

    @property
    def names(self) -> frozenset[str]:
        """Names of the metrics that have an instrument."""
        return frozenset(self._by_name)

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Adds to a counter. The current span, if it is sampled, becomes its exemplar, once in `EXEMPLAR_SECONDS`."""
        instrument = self._instrument(metric)
        series = instrument.series(labels)
        series.inc(by, exemplar=instrument.exemplar(series))

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Adds a value to a histogram. The current span, if it is sampled, becomes the exemplar of its bucket.

        That happens once in `EXEMPLAR_SECONDS` for each bucket.
        """
        instrument = self._instrument(metric)
        series = instrument.series(labels)
        series.observe(value, exemplar=instrument.exemplar(series, bisect_left(metric.buckets, value)))

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Sets a gauge."""
        self._instrument(metric).series(labels).set(value)

    def read(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Has a gauge read by a function at each scrape; it must only look at what is in memory."""
        self._instrument(metric).series(labels).set_function(read)

    def clear(self, metric: Metric) -> None:
        """Removes all series of a metric with labels."""
        self._instrument(metric).clear()

    def collect(self) -> Iterator[Family]:
        """Returns the current values."""
        yield from self._registry.collect()

    def _instrument(self, metric: Metric) -> "_Instrument":
        if (known := self._by_name.get(metric.name)) is not None:
            return known
        with self._lock:
            if metric.name not in self._by_name:
                self._by_name[metric.name] = _Instrument(metric, self._registry, self._max_series)
            return self._by_name[metric.name]


class _Instrument:
    def __init__(self, metric: Metric, into: CollectorRegistry, max_series: int) -> None:
        options: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
        names = [str(label) for label in metric.labels]
        self._metric, self._max_series = metric, max_series
        self._inner: Any = _KINDS[metric.kind](metric.name, metric.meaning, names, registry=into, **options)
        self._allowed = [frozenset(label.values) for label in metric.labels]
        self._series: dict[tuple[str, ...], Any] = {}
        #: By series and number of the bucket: when it got its last exemplar, in seconds of the monotonic clock.
        self._exemplars_at: dict[tuple[Any, int], float] = {}
        self._lock = Lock()

    def series(self, labels: tuple[str, ...]) -> Any:
        """Returns the series of these values of the labels, in the declared order."""
        if not self._allowed:
            return self._inner
        if (known := self._series.get(labels)) is not None:
            return known
        values = tuple(
            value if not allowed or value in allowed else OTHER
            for value, allowed in zip(labels, self._allowed, strict=True)
        )
        with self._lock:
            if values not in self._series and len(self._series) >= self._max_series:
                return self._inner.labels(*[OTHER] * len(values))
            return self._series.setdefault(values, self._inner.labels(*values))

    def exemplar(self, series: Any, bucket: int = 0) -> dict[str, str] | None:
        """Returns the exemplar of a new value; None without a sampled span, and while the last one is recent."""
        now = time.monotonic()
        if now - self._exemplars_at.get((series, bucket), -math.inf) < EXEMPLAR_SECONDS:
            return None
        exemplar = _exemplar()
        if exemplar is not None:
            self._exemplars_at[series, bucket] = now
        return exemplar

    def start_at_zero(self) -> None:
        """Exports a zero for every combination of declared values, unless there are many or unknown ones."""
        labels = self._metric.labels
        if not labels or math.prod(len(label.values) for label in labels) > MAX_ZEROS or self._metric.kind == "gauge":
            return
        combinations: list[tuple[str, ...]] = [()]
        for label in labels:
            combinations = [(*known, value) for known in combinations for value in label.values]
        for combination in combinations:
            self.series(combination)

    def clear(self) -> None:
        """Removes all series."""
        with self._lock:
            self._series.clear()
            self._exemplars_at.clear()
            self._inner.clear()


def _exemplar() -> dict[str, str] | None:
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


#: The instruments of this process.
PROCESS = Instruments()
count, observe, read, clear = PROCESS.count, PROCESS.observe, PROCESS.read, PROCESS.clear
set_gauge = PROCESS.set
