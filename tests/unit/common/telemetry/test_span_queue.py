"""The queue of spans is bounded, counts what it loses, and ends in time."""

import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from common.telemetry import metrics, registry
from common.telemetry.span_queue import QueueLimits, SpanQueue
from tests.support.patience import PATIENCE

LIMITS = QueueLimits(spans=20, batch=5, delay_seconds=PATIENCE)


class ScriptedExporter(SpanExporter):
    """Answers as the test says; `open` lets its requests end."""

    def __init__(self, result: SpanExportResult | Exception = SpanExportResult.SUCCESS) -> None:
        self.result = result
        self.batches: list[list[str]] = []
        self.called, self.open = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Takes spans."""
        self.batches.append([span.name for span in spans])
        self.called.set()
        self.open.wait(PATIENCE)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def shutdown(self) -> None:
        """Ends a request that is under way."""
        self.open.set()


def end_spans(queue: SpanQueue, count: int) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()


def counted() -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in metrics.PROCESS.collect()
        for sample in family.samples
        if sample.name == registry.TELEMETRY_SPANS.name
    }


def difference(before: dict[str, float]) -> dict[str, float]:
    changes = {outcome: value - before.get(outcome, 0) for outcome, value in counted().items()}
    return {outcome: change for outcome, change in changes.items() if change}


def test_whole_batches_go_at_once_and_the_rest_at_the_end() -> None:
    exporter, before = ScriptedExporter(), counted()
    exporter.open.set()
    queue = SpanQueue(exporter, LIMITS)
    end_spans(queue, 5)
    assert exporter.called.wait(PATIENCE)
    end_spans(queue, 2)
    queue.close(PATIENCE)

    assert exporter.batches == [["0", "1", "2", "3", "4"], ["0", "1"]]
    assert difference(before) == {"sent": 7}


def test_what_is_too_much_is_dropped_and_counted() -> None:
    exporter, before = ScriptedExporter(), counted()
    queue = SpanQueue(exporter, LIMITS)
    end_spans(queue, 5)
    assert exporter.called.wait(PATIENCE)
    end_spans(queue, 100)
    began = time.monotonic()
    queue.close(0.2)
    end_spans(queue, 1)

    assert time.monotonic() - began < 20
    assert exporter.batches == [["0", "1", "2", "3", "4"]]
    wait_for_sent(before)
    # The batch under way ends with the exporter; 20 waited, of which none was sent.
    assert difference(before) == {"sent": 5, "queue_full": 80, "stopped": 21}


def wait_for_sent(before: dict[str, float]) -> None:
    until = time.monotonic() + PATIENCE
    while "sent" not in difference(before) and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, RuntimeError("broken")])
def test_a_request_that_fails_costs_its_spans_alone(result: SpanExportResult | Exception) -> None:
    exporter, before = ScriptedExporter(result), counted()
    exporter.open.set()
    queue = SpanQueue(exporter, LIMITS)
    end_spans(queue, 7)
    queue.close(PATIENCE)

    assert [span for batch in exporter.batches for span in batch] == ["0", "1", "2", "3", "4", "5", "6"]
    assert difference(before) == {"failed": 7}


def test_the_environment_sets_the_bounds() -> None:
    assert QueueLimits.of({}) == QueueLimits()
    given = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "250",
    }
    assert QueueLimits.of(given) == QueueLimits(spans=100, batch=100, delay_seconds=0.25)
    assert QueueLimits.of(dict.fromkeys(given, "-1") | {"OTEL_BSP_SCHEDULE_DELAY": "soon"}) == QueueLimits()
