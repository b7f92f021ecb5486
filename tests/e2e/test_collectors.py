"""A collector of telemetry that fails in any way costs no job, no time at the end and no memory without bound."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.stack.state import StackState
from tests.support.patience import PATIENCE
from tests.support.servers.failing_collector import FailingCollector, Failure, failing_collector
from tests.support.stacks.running_stack import running_stack
from tests.support.stacks.stack_clients import Client, RetryingTransport, caller

SERVICES = ("gateway", "job", "generator", "uploader", "notifier")
PROVIDERS = "providers:\n  - name: procedural\n    kind: procedural\n"
#: Spans that a process may keep.
MAX_SPANS = 32
SETTINGS = {
    "OTEL_BSP_MAX_QUEUE_SIZE": str(MAX_SPANS),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "CALOTYPE_GRACE_SECONDS": "30",
}


@pytest.fixture(scope="module")
def failing() -> Iterator[FailingCollector]:
    with failing_collector() as found:
        yield found


@pytest.fixture(scope="module")
def stack(server_folder: Path, failing: FailingCollector) -> Iterator[StackState]:
    """A stack whose collector fails; it ends while the collector is silent, within its grace."""
    settings = SETTINGS | {"OTEL_EXPORTER_OTLP_ENDPOINT": failing.url}
    folder = server_folder / "collectors"
    with running_stack(folder, providers=PROVIDERS, settings=settings) as state:
        yield state
        failing.fail_by("silent")
    logs = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in (folder / "logs").glob("*.log")}
    assert logs
    assert [name for name, text in logs.items() if "Traceback" in text] == []


@pytest.fixture
def client(stack: StackState) -> Iterator[Client]:
    with caller(stack, transport=RetryingTransport()) as opened:
        yield Client(opened)


def values(stack: StackState, service: str) -> dict[tuple[str, ...], float]:
    """Values of the metrics about telemetry at the service's admin port, by name and the values of sorted labels."""
    answer = httpx.get(f"{stack.admin[service][0]}/metrics", timeout=PATIENCE, trust_env=False)
    return {
        (
            sample.name.removeprefix("calotype_telemetry_"),
            *(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith("calotype_telemetry_")
    }


@pytest.mark.parametrize("failure", get_args(Failure))
def test_jobs_are_done_and_losses_counted(
    failure: Failure, client: Client, stack: StackState, failing: FailingCollector
) -> None:
    failing.fail_by(failure)
    before = {service: values(stack, service) for service in SERVICES}
    jobs = [client.submit(f"a lighthouse {number}", size="64x64")["id"] for number in range(4)]
    assert [client.follow(job)["status"] for job in jobs] == ["completed"] * len(jobs)

    for service in SERVICES:
        # The notifier has no work here, and so no spans.
        for signal in ("metrics",) if service == "notifier" else ("metrics", "traces"):
            changed = ("requests_total", "failed", signal)
            until = time.monotonic() + PATIENCE
            while (found := values(stack, service))[changed] <= before[service][changed]:
                assert time.monotonic() < until, (service, changed, found)
                time.sleep(0.2)
        assert found["spans_total", "sent"] == 0
        assert found["waiting_spans",] <= MAX_SPANS
