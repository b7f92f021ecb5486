"""Each service's metrics are those that the registry declares for it, with their labels, and no others."""

import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from cli.stack.state import StackState
from common.telemetry.metrics import DECLARED
from tests.support.patience import PATIENCE
from tests.support.servers.otlp_collector import Collector
from tests.support.stacks.stack_clients import Client

SERVICES = ("gateway", "job", "generator", "uploader", "notifier")
OF_PYTHON = ("process_", "python_")


def scraped(stack: StackState, service: str) -> dict[str, Family]:
    """Calotype's metrics of a service's first replica, by name in the registry."""
    answer = httpx.get(f"{stack.admin[service][0]}/metrics", timeout=PATIENCE, trust_env=False)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in families
        if not family.name.startswith(OF_PYTHON)
    }


def labels(family: Family) -> Iterator[set[str]]:
    """Names of the labels of each sample."""
    for sample in family.samples:
        yield set(sample.labels) - {"le"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_exports_what_is_declared_for_it(stack: StackState, service: str) -> None:
    found = scraped(stack, service)

    assert set(found) == {name for name, metric in DECLARED.items() if service in metric.services}
    for name, family in found.items():
        assert family.type == DECLARED[name].kind
        assert all(seen == set(DECLARED[name].labels) for seen in labels(family)), name


def test_a_job_is_seen_in_every_service_and_its_tenant_in_none(stack: StackState, client: Client) -> None:
    job = client.follow(client.submit("a lighthouse", size="128x128")["id"])
    assert job["status"] == "completed"
    expected = {
        "gateway": ("calotype_http_request_duration_seconds_count", {"route": "/v1/jobs", "status": "202"}),
        "job": ("calotype_job_transitions_total", {"transition": "job.completed"}),
        "generator": (
            "calotype_provider_call_duration_seconds_count",
            {"provider": "procedural", "outcome": "succeeded"},
        ),
        "uploader": ("calotype_upload_duration_seconds_count", {"outcome": "stored"}),
        "notifier": ("calotype_loop_runs_total", {"loop": "delivery_lag", "outcome": "done"}),
    }
    for service, (name, wanted) in expected.items():
        until = time.monotonic() + PATIENCE
        while not any(
            sample.name == name and wanted.items() <= sample.labels.items() and sample.value
            for family in scraped(stack, service).values()
            for sample in family.samples
        ):
            assert time.monotonic() < until, (service, name)
            time.sleep(0.2)
        values = {
            value
            for family in scraped(stack, service).values()
            for sample in family.samples
            for value in sample.labels.values()
        }
        assert not [value for value in values if value == "default" or job["id"] in value]


def test_metrics_are_sent_by_otlp_as_they_are_declared(stack: StackState, client: Client, spans: Collector) -> None:
    job = client.follow(client.submit("a lighthouse at noon", size="128x128")["id"])
    assert job["status"] == "completed"
    for service, name, labels in (
        ("gateway", "calotype_http_request_duration_seconds", {"route": "/v1/jobs", "status": "202"}),
        ("job", "calotype_job_transitions_total", {"transition": "job.completed"}),
        ("generator", "calotype_provider_call_duration_seconds", {"outcome": "succeeded"}),
        ("uploader", "calotype_upload_duration_seconds", {"outcome": "stored"}),
        ("notifier", "calotype_loop_runs_total", {"loop": "delivery_lag"}),
    ):
        assert spans.metrics.wait_for(service, name, labels, seconds=PATIENCE) > 0, service
        declared = {name for name, metric in DECLARED.items() if service in metric.services}
        # A metric without a series is not sent.
        assert spans.metrics.names(service) >= {name for name in declared if not DECLARED[name].labels}
        assert spans.metrics.wait_for(service, "process_resident_memory_bytes", {}, seconds=PATIENCE) > 0
    assert spans.metrics.exemplars
    assert spans.violations == []
