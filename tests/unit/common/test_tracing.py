"""Spans tell how their work ended, and a collector that is away, slow or wrong harms nothing."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common import tracing
from common.errors import ServiceError
from common.telemetry import registry
from tests.support.servers.otlp_collector import Collector, collector

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#: Seconds in which a process that has lost its collector must have ended, and what a busy machine adds.
AT_MOST, SPARE = 5.0, 20.0


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Spans of this test alone."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.using(provider):
        yield exporter


@pytest.fixture
def otlp() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def own_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the process's provider as it is: it can be set only once."""
    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: None)


def ended(spans: InMemorySpanExporter, error: BaseException, **options: Any) -> ReadableSpan:
    with pytest.raises(type(error)), tracing.span(registry.GENERATE, **options):
        raise error
    [span] = spans.get_finished_spans()
    return span


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("a secret"), "RuntimeError"),
        (ServiceError(status=grpc.StatusCode.ABORTED, reason="WRONG_STATE", message="a secret"), "WRONG_STATE"),
    ],
)
def test_an_exception_is_an_error_without_its_message(spans: InMemorySpanExporter, error: Exception, kind: str) -> None:
    span = ended(spans, error)

    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, kind)
    assert dict(span.attributes or {}) == {"error.type": kind}
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("given up")])
def test_work_that_was_given_up_is_no_error(spans: InMemorySpanExporter, error: BaseException) -> None:
    span = ended(spans, error, interruptions=(KeyError,))

    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {"calotype.interrupted": True}


def test_values_that_are_missing_are_left_out(spans: InMemorySpanExporter) -> None:
    with tracing.span(registry.GENERATE, {registry.JOB_ID: "job_1", registry.TENANT: None, registry.ERROR_STAGE: ""}):
        pass

    assert [dict(span.attributes or {}) for span in spans.get_finished_spans()] == [{"calotype.job.id": "job_1"}]


def test_a_name_has_the_values_of_its_attributes() -> None:
    title = registry.HTTP_SERVER.title

    assert title({registry.HTTP_METHOD: "GET", registry.HTTP_ROUTE: "/v1/jobs/{job_id}"}) == "GET /v1/jobs/{job_id}"
    assert title({registry.HTTP_METHOD: "GET", registry.HTTP_ROUTE: ""}) == "GET"


@pytest.mark.usefixtures("own_provider")
def test_spans_reach_the_collector(otlp: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    with tracing.tracing("generator"), tracing.span(registry.GENERATE, parent=PARENT):
        pass

    assert [span.name for span in otlp.of_trace(PARENT.split("-")[1])] == ["generate images"]
    assert otlp.violations == []


@pytest.mark.usefixtures("own_provider")
def test_the_collector_refuses_what_is_not_declared(otlp: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    with tracing.tracing("generator") as provider:
        tracer = provider.get_tracer("test")
        tracer.start_span("something").end()
        tracer.start_span("generate images", attributes={"prompt": "a cat"}).end()
        tracer.start_span("generate images", attributes={"calotype.job.claim_number": "1"}).end()

    assert otlp.violations == [
        "generator declares no span 'something' of kind INTERNAL",
        "generate images: attribute prompt",
        "generate images: calotype.job.claim_number is '1', not a int",
    ]


@pytest.mark.usefixtures("own_provider")
@pytest.mark.parametrize(
    ("sampler", "argument", "flag", "sent"),
    [
        ("always_on", "", "00", 1),
        ("always_off", "", "01", 0),
        ("parentbased_always_on", "", "01", 1),
        ("parentbased_always_on", "", "00", 0),
        ("parentbased_traceidratio", "0", "01", 1),
        ("traceidratio", "0", "01", 0),
    ],
)
def test_the_environment_configures_sampling(
    otlp: Collector, monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, flag: str, sent: int
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with tracing.tracing("generator"), tracing.span(registry.GENERATE, parent=f"{PARENT[:-2]}{flag}"):
        # The id is known for logs and problems even if nothing is kept.
        assert tracing.trace_id(tracing.traceparent()) == PARENT.split("-")[1]

    assert len(otlp.of_trace(PARENT.split("-")[1])) == sent


@pytest.mark.usefixtures("own_provider", "no_collection")
@pytest.mark.parametrize(
    "kind", ["slow", "away", "refusing", "http://", "nonsense", "http://[::1", "ftp://127.0.0.1:1", "http://a:b"]
)
def test_a_collector_that_is_slow_away_or_wrong_holds_nothing_up(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue(kind) if kind in ("slow", "away", "refusing") else kind
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    longest, began = 0.0, time.monotonic()
    with tracing.tracing("generator"):
        # More than the queue holds: the rest is dropped.
        for _ in range(3_000):
            before = time.thread_time()
            with tracing.span(registry.GENERATE):
                pass
            longest = max(longest, time.thread_time() - before)

    assert longest < 1.0
    assert time.monotonic() - began < AT_MOST + SPARE


@pytest.mark.usefixtures("own_provider")
@pytest.mark.parametrize(("sampler", "flag"), [("parentbased_always_on", "01"), ("always_off", "00")])
def test_a_process_that_sends_no_spans_carries_traces_on_and_records_nothing(
    monkeypatch: pytest.MonkeyPatch, sampler: str, flag: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    _, trace_id, span_id, _ = PARENT.split("-")
    with tracing.tracing("generator"):
        with tracing.span(registry.GENERATE, {registry.JOB_ID: "job_1"}, parent=PARENT) as outer:
            assert not outer.is_recording()
            _, inside, outer_id, outer_flag = str(tracing.traceparent()).split("-")
            with tracing.span(registry.GENERATE):
                inner = str(tracing.traceparent()).split("-")
        with tracing.span(registry.GENERATE):
            other = str(tracing.traceparent()).split("-")

    assert (inside, outer_flag) == (trace_id, flag)
    assert (inner[1], inner[3]) == (trace_id, flag)
    assert len({span_id, outer_id, inner[2]}) == 3
    assert other[1] != trace_id
    # A new trace has the bit of a random id as well.
    assert int(other[3], 16) == int(flag, 16) | 2


@pytest.mark.parametrize(
    "parent",
    [
        PARENT,
        f"{PARENT[:-2]}03",
        f"{PARENT[:-2]}00",
        PARENT.upper(),
        f" {PARENT}\t",
        f"{PARENT}-more",
        f"01{PARENT[2:]}-more",
        f"ff{PARENT[2:]}",
        f"{PARENT}\n",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        "00-1",
        "",
        None,
    ],
)
def test_a_traceparent_is_read_and_written_as_the_library_does(parent: str | None) -> None:
    library, carrier = TraceContextTextMapPropagator(), dict[str, str]()
    expected = library.extract({"traceparent": parent} if parent else {}, context=Context())
    library.inject(carrier, context=expected)

    read = trace.get_current_span(tracing.context_from(parent))

    assert read.get_span_context() == trace.get_current_span(expected).get_span_context()
    assert tracing.traceparent_of(read) == carrier.get("traceparent")
