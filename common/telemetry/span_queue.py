"""Sends the spans of a process from a thread of its own; what a collector cannot take is dropped and counted."""

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from common.telemetry import metrics, registry
from common.telemetry.otlp import positive

TRACES, SENT, FAILED, QUEUE_FULL, STOPPED = "traces", "sent", "failed", "queue_full", "stopped"


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """Bounds of a queue of spans."""

    #: Spans that wait; further ones are dropped.
    spans: int = 2048
    #: Spans of one request; so many are sent at once, fewer when the delay is over.
    batch: int = 512
    #: Seconds between two requests. Each costs about as much processor time as 20 spans, so it is not short.
    delay_seconds: float = 2.0

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> "QueueLimits":
        """Reads the variables `OTEL_BSP_...` of OpenTelemetry; a value that is no positive number is ignored."""
        spans = int(positive(environ.get("OTEL_BSP_MAX_QUEUE_SIZE"), cls.spans))
        return cls(
            spans=spans,
            batch=min(int(positive(environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), cls.batch)), spans),
            delay_seconds=positive(environ.get("OTEL_BSP_SCHEDULE_DELAY"), cls.delay_seconds * 1000) / 1000,
        )


class SpanQueue(SpanProcessor):
    """Keeps ended spans until its thread has sent them; the methods may be called from any thread."""

    def __init__(self, exporter: SpanExporter, limits: QueueLimits) -> None:
        self._exporter, self._limits = exporter, limits
        self._spans: deque[ReadableSpan] = deque()
        self._wake, self._is_stopped, self._ends_at = threading.Event(), False, float("inf")
        metrics.read(registry.TELEMETRY_WAITING_SPANS, lambda: len(self._spans))
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Queues a span that is sampled; drops it when the queue is full or closed."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        waiting = len(self._spans)
        if waiting >= self._limits.spans or self._is_stopped:
            metrics.count(registry.TELEMETRY_SPANS, STOPPED if self._is_stopped else QUEUE_FULL)
            return
        self._spans.append(span)
        if waiting + 1 >= self._limits.batch:
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Sends what waits, for up to so many seconds; drops the rest."""
        self._is_stopped, self._ends_at = True, time.monotonic() + seconds
        self._wake.set()
        self._thread.join(seconds)
        self._exporter.shutdown()
        if self._spans:
            metrics.count(registry.TELEMETRY_SPANS, STOPPED, by=len(self._spans))
            self._spans.clear()

    def _run(self) -> None:
        while not self._is_stopped:
            self._wake.wait(self._limits.delay_seconds)
            self._wake.clear()
            self._send()
            # During a burst whole batches go at once.
            while len(self._spans) >= self._limits.batch and not self._is_stopped:
                self._send()
        while self._spans and time.monotonic() < self._ends_at:
            self._send()

    def _send(self) -> None:
        batch = [self._spans.popleft() for _ in range(min(len(self._spans), self._limits.batch))]
        if not batch:
            return
        try:
            is_sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - whatever the library raises costs these spans, and not the thread
            is_sent = False
        outcome = SENT if is_sent else FAILED
        metrics.count(registry.TELEMETRY_SPANS, outcome, by=len(batch))
        metrics.count(registry.TELEMETRY_REQUESTS, TRACES, outcome)
