"""Instruments are made from declarations, and no text from outside can make series without end."""

import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.openmetrics.exposition import generate_latest

from common.telemetry.kinds import Attribute, Metric
from common.telemetry.metrics import DECLARED, Instruments

OUTCOME = Attribute("outcome", "How it ended.", values=("done", "failed"))
NAME = Attribute("name", "Any text.")
RUNS = Metric(
    name="calotype_test_runs_total", meaning="Runs.", kind="counter", unit="{run}", services=("job",), labels=(OUTCOME,)
)
SECONDS = Metric(
    name="calotype_test_seconds", meaning="Seconds.", kind="histogram", unit="s", services=("job",), buckets=(0.1, 1.0)
)
FREE = Metric(
    name="calotype_test_free", meaning="Free.", kind="gauge", unit="1", services=("job",), labels=(NAME,)
)  # fmt: skip


def samples(instruments: Instruments) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in instruments.collect()
        for sample in family.samples
    }


def test_a_counter_with_known_values_is_exported_as_zero_from_the_start() -> None:
    instruments = Instruments()
    instruments.add(RUNS)
    instruments.count(RUNS, "done")

    assert samples(instruments) == {
        ("calotype_test_runs_total", "done"): 1.0,
        ("calotype_test_runs_total", "failed"): 0.0,
    }


def test_a_value_that_is_not_declared_becomes_other() -> None:
    instruments = Instruments()
    for value in ("done", "x", "y"):
        instruments.count(RUNS, value)

    assert samples(instruments) == {
        ("calotype_test_runs_total", "done"): 1.0,
        ("calotype_test_runs_total", "other"): 2.0,
    }


def test_series_are_limited_and_the_rest_shares_one() -> None:
    instruments = Instruments(max_series=3)
    for number in range(50):
        instruments.set(FREE, number, f"name {number}")

    assert sorted(key[1] for key in samples(instruments)) == ["name 0", "name 1", "name 2", "other"]


def test_a_sampled_span_becomes_an_exemplar_and_none_does_without_a_span() -> None:
    instruments = Instruments()
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("x") as span:
        instruments.observe(SECONDS, 0.05)
        trace_id = f"{span.get_span_context().trace_id:032x}"
    instruments.observe(SECONDS, 5.0)
    shown = generate_latest(instruments).decode()  # type: ignore[arg-type]
    exemplars = [line for line in shown.splitlines() if "# {" in line]

    assert [line.partition(" #")[0] for line in exemplars] == ['calotype_test_seconds_bucket{le="0.1"} 1.0']
    assert trace_id in exemplars[0]


def test_a_bucket_gets_an_exemplar_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    instruments, now = Instruments(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    tracer, ids = TracerProvider(shutdown_on_exit=False).get_tracer("test"), list[str]()
    for seconds, value in ((0.0, 0.05), (0.9, 0.06), (0.9, 5.0), (1.1, 0.07)):
        now[0] = 100.0 + seconds
        with tracer.start_as_current_span("x") as span:
            instruments.observe(SECONDS, value)
            ids.append(f"{span.get_span_context().trace_id:032x}")
    shown = generate_latest(instruments).decode()  # type: ignore[arg-type]

    exemplars = [line for line in shown.splitlines() if "# {" in line]
    assert [next(n for n, trace_id in enumerate(ids) if trace_id in line) for line in exemplars] == [3, 2]


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED)
def test_a_declaration_follows_the_rules_of_prometheus(metric: Metric) -> None:
    assert metric.name.startswith("calotype_")
    assert metric.meaning.endswith(".")
    assert metric.services
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric.unit == "s":
        assert "_seconds" in metric.name
    if metric.unit == "By":
        assert "_bytes" in metric.name
    assert not {"tenant", "job", "end_user", "le"} & set(metric.labels)
    for label in metric.labels:
        assert label.isidentifier()
        assert label.meaning
