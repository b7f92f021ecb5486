"""What a scrape of each admin port costs: series, bytes and processor time; and the same metrics sent by OTLP.

`python -m tests.benchmarks.scrapes [PROVIDERS] [MODELS]` fills the metrics of each service as if every provider, model,
route and method had had every outcome. No metric has a tenant as a label, so that tenants cost nothing. The second
table has as many series as a process keeps of a metric.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from prometheus_client.exposition import choose_encoder

from common.telemetry import registry
from common.telemetry.kinds import Metric
from common.telemetry.metric_points import metrics_data
from common.telemetry.metrics import DECLARED, MAX_SERIES, Instruments
from common.telemetry.otlp import resource

ROUNDS = 5
#: Values of labels that may have any, as many as there are: templates of paths, methods of a service.
ROUTES, METHODS, LOOPS = 45, 30, 12
HEAD = "| service | series | text | scrape | OTLP, bytes | in the event loop | in its thread |"
STATUSES = ("200", "202", "404", "422", "503")


def values(label: str, *, providers: int, models: int) -> Sequence[str]:
    """Values of a label that may have any."""
    many = {"route": ROUTES, "rpc_method": METHODS, "loop": LOOPS, "provider": providers, "model": models}
    return STATUSES if label == "status" else [f"{label}-{number}" for number in range(many.get(label, 3))]


def fill(instruments: Instruments, metric: Metric, rows: Iterator[tuple[str, ...]]) -> None:
    """Gives a metric these series, each with a value."""
    for row in rows:
        if metric.kind == "histogram":
            instruments.observe(metric, 0.03, *row)
        elif metric.kind == "counter":
            instruments.count(metric, *row)
        else:
            instruments.set(metric, 1, *row)


def usual(metric: Metric, *, providers: int, models: int) -> Iterator[tuple[str, ...]]:
    """Every combination of labels that a busy process may have had."""
    # A route has about one method, a reason one code, a transition one state before and one after it.
    single = {registry.METHOD: "GET", registry.ERROR_CODE: "TEMPORARY", "source": "queued", "target": "failed"}
    few = {registry.RPC_STATUS_LABEL: ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED")}
    return itertools.product(
        *(
            (single[label],)
            if label in single
            else few.get(label) or label.values or values(label, providers=providers, models=models)
            for label in metric.labels
        )
    )


def largest(metric: Metric) -> Iterator[tuple[str, ...]]:
    """As many series as there may be."""
    if all(label.values for label in metric.labels):
        return itertools.product(*(label.values for label in metric.labels))
    texts = ((f"a value of usual length {number}") for number in range(MAX_SERIES))
    return (tuple(label.values[0] if label.values else text for label in metric.labels) for text in texts)


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call, the shortest of several."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found) * 1000


def main() -> int:
    """Prints a table of both fillings."""
    providers, models = (int(text) for text in (*sys.argv[1:3], "13", "4")[:2])
    for title, rows in (
        (f"{providers} providers with {models} models", lambda one: usual(one, providers=providers, models=models)),
        ("the largest possible", largest),
    ):
        print(f"\n{title}\n{HEAD}")
        for service in registry.ALL_SERVICES:
            instruments = Instruments()
            for metric in DECLARED.values():
                if service in metric.services:
                    fill(instruments, metric, rows(metric))
            row(service, instruments)
    return 0


def row(service: str, instruments: Instruments) -> None:
    """Prints what a scrape of these instruments costs."""
    series = sum(len(family.samples) for family in instruments.collect())
    text = len(_text(instruments))
    origin = resource(service)

    def sent_bytes() -> bytes:
        data = metrics_data(families, resource=origin, began_ns=1, now_ns=2)
        return encode_metrics(data).SerializeToString()

    families = [*instruments.collect()]
    scrape = milliseconds(lambda: _text(instruments))
    collected, encoded = milliseconds(lambda: [*instruments.collect()]), milliseconds(sent_bytes)
    sent = len(sent_bytes())
    print(
        f"| {service} | {series:,} | {text / 1024:,.0f} KiB | {scrape:.1f} ms | {sent / 1024:,.0f} KiB |"
        f" {collected:.1f} ms | {encoded:.1f} ms |",
        flush=True,
    )


def _text(instruments: Instruments) -> bytes:
    encode, _ = choose_encoder("")
    return encode(instruments)


if __name__ == "__main__":
    sys.exit(main())
