"""Metrics are sent by OTLP with the values and names that a scrape shows, and no collector holds the process up."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import Histogram, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from common.telemetry import metrics, registry
from common.telemetry.metric_points import metrics_data
from common.telemetry.metric_sender import sending_metrics
from common.telemetry.metrics import Instruments
from common.telemetry.otlp import LAST_SECONDS
from tests.support.patience import PATIENCE
from tests.support.servers.otlp_collector import Collector, collector

#: Seconds beyond `LAST_SECONDS` for a busy machine.
SPARE = 20.0


@pytest.fixture
def otlp() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def instruments() -> Instruments:
    """Instruments with a counter, a gauge and a histogram."""
    found = Instruments()
    found.add(registry.LEASES_LOST, registry.FACTS)
    found.count(registry.FACTS, "applied", by=3)
    found.set(registry.FACTS_PENDING, 7)
    for seconds in (0.0005, 0.03, 0.03, 99.0):
        found.observe(registry.RPC_SERVER_SECONDS, seconds, "a.B/C", "OK")
    return found


def converted(instruments: Instruments) -> MetricsData:
    return metrics_data(instruments.collect(), resource=Resource({}), began_ns=1, now_ns=2)


def by_name(data: MetricsData) -> dict[str, Any]:
    [resource] = data.resource_metrics
    return {metric.name: metric for metric in resource.scope_metrics[0].metrics}


def test_values_are_those_of_a_scrape(instruments: Instruments) -> None:
    found = by_name(converted(instruments))
    facts = {point.attributes["verdict"]: point.value for point in found["calotype_facts_total"].data.data_points}

    assert facts == {"applied": 3, "retried": 0, "parked": 0, "dead_lettered": 0}
    assert [point.value for point in found["calotype_facts_pending"].data.data_points] == [7]
    [point] = found["calotype_rpc_server_duration_seconds"].data.data_points
    assert (point.count, point.sum, point.explicit_bounds) == (4, 99.0605, [*registry.FAST_SECONDS])
    assert {bound: count for bound, count in enumerate(point.bucket_counts) if count} == {0: 1, 5: 2, 14: 1}
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1, 2)


def test_a_sampled_span_is_an_exemplar() -> None:
    instruments = Instruments()
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("x") as span:
        instruments.observe(registry.SCRAPE_SECONDS, 0.002)
        context = span.get_span_context()
    data = by_name(converted(instruments))["calotype_scrape_duration_seconds"].data
    assert isinstance(data, Histogram)
    [exemplar] = data.data_points[0].exemplars

    assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (context.trace_id, context.span_id, 0.002)


async def test_they_are_sent_at_intervals_and_at_the_end(
    otlp: Collector, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
    async with sending_metrics("job", instruments.collect):
        arrived = await asyncio.to_thread(
            otlp.metrics.wait_for, "job", "calotype_facts_total", {"verdict": "applied"}, seconds=PATIENCE
        )
        assert arrived == 3
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "60000")
    async with sending_metrics("job", instruments.collect):
        instruments.count(registry.FACTS, "applied", by=2)

    assert otlp.metrics.wait_for("job", "calotype_facts_total", {"verdict": "applied"}, seconds=0) == 5
    assert otlp.violations == []


async def test_a_metric_that_is_not_declared_is_noticed(
    otlp: Collector, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", otlp.url)
    async with sending_metrics("uploader", instruments.collect):
        pass

    assert "uploader declares no metric calotype_facts_total" in otlp.violations


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{url}"},
    ],
)
async def test_they_are_not_sent_unless_wanted(
    variables: dict[str, str], otlp: Collector, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(url=otlp.url))
    async with sending_metrics("job", instruments.collect):
        pass

    assert otlp.metrics.names("job") == set()


@pytest.mark.parametrize("kind", ["slow", "away", "refusing", "http://", "nonsense", "http://[::1", "http://a:b"])
async def test_a_collector_that_fails_holds_nothing_up(
    kind: str, instruments: Instruments, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(kind) if kind in ("slow", "away", "refusing") else kind
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    before, began = failed(), time.monotonic()
    async with sending_metrics("job", instruments.collect):
        pass

    assert time.monotonic() - began < LAST_SECONDS + SPARE
    if url != "http://[::1":
        assert failed() == before + 1


def failed() -> float:
    """Requests with metrics that failed in this process."""
    return next(
        (
            sample.value
            for family in metrics.PROCESS.collect()
            for sample in family.samples
            if sample.name == registry.TELEMETRY_REQUESTS.name
            and sample.labels == {"signal": "metrics", "outcome": "failed"}
        ),
        0.0,
    )
