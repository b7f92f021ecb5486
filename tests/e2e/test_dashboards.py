"""Dashboards and alerts on a real Prometheus that scrapes the running stack.

Panels have data under a small load, those that need a fault during that fault, and each alert fires once.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from cli.stack.state import StackState
from tests.support.monitoring import boards
from tests.support.monitoring.alert_rules import rules, write_immediate
from tests.support.monitoring.boards import BoardPanel
from tests.support.monitoring.prometheus_server import PrometheusServer, prometheus_server
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.stack_clients import Client, caller

PANELS = boards.panels()
#: More than the gateway's slots for calls to job-service.
MANY_REQUESTS = 48
#: Alerts that a test below has seen firing.
SEEN: set[str] = set()


@pytest.fixture(scope="module")
def prometheus(stack: StackState, server_folder: Path) -> Iterator[PrometheusServer]:
    """Scrapes all services of the stack each second; alerts fire at once."""
    targets = {f"calotype-{name}": [urlsplit(url).netloc for url in urls] for name, urls in stack.admin.items()}
    folder = server_folder / "prometheus"
    with prometheus_server(folder, targets, rules=write_immediate(folder / "rules")) as server:
        yield server


@pytest.fixture(scope="module")
def load(stack: StackState, prometheus: PrometheusServer) -> Iterator[None]:
    """A small load: jobs that succeed, fail, cost money and are followed, for as long as the tests run."""
    end = threading.Event()
    with caller(stack) as opened, ThreadPoolExecutor(1) as pool:
        running = pool.submit(_load, Client(opened), end)
        yield
        end.set()
        running.result()


def _load(client: Client, end: threading.Event) -> None:
    while not end.is_set():
        try:
            client.submit("a harbour at dawn")
            client.submit("a ship", provider="paid", model="test/model")
            client.submit("a lantern", provider="strict", model="m")
            client.http.get("/v1/jobs")
        except (AssertionError, httpx.HTTPError):
            # Expected during faults.
            pass
        end.wait(2)


def test_every_service_is_scraped(prometheus: PrometheusServer, stack: StackState) -> None:
    up = prometheus.wait(
        lambda server: {sample.labels["job"] for sample in server.query("up == 1")} == set(_jobs(stack)), what="all up"
    )

    assert up
    assert {target["lastError"] for target in prometheus.targets()} == {""}


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("panel", [panel for panel in PANELS if not panel.needs], ids=lambda panel: panel.name)
def test_a_panel_has_data(prometheus: PrometheusServer, panel: BoardPanel) -> None:
    for query in panel.substituted():
        prometheus.wait(partial(_has_values, query=query), what=f"data of {query}")


@pytest.mark.usefixtures("load")
def test_durations_lead_to_traces(prometheus: PrometheusServer) -> None:
    query = boards.panel("overview", "Time to a response").substituted()[0]

    exemplars = prometheus.wait(lambda server: server.exemplars(query), what="an exemplar")

    assert all(len(exemplar["labels"]["trace_id"]) == 32 for exemplar in exemplars)


def test_a_process_that_is_stuck_makes_an_alert(prometheus: PrometheusServer, server_folder: Path) -> None:
    with frozen(server_folder / "stack", "uploader"):
        _expect(prometheus, "CalotypeTargetDown", job="calotype-uploader")


@pytest.mark.usefixtures("load")
def test_an_outage_of_job_service_makes_alerts(
    prometheus: PrometheusServer, server_folder: Path, stack: StackState
) -> None:
    with (
        frozen(server_folder / "stack", "job"),
        caller(stack) as http,
        _repeated(lambda: http.get("/v1/jobs"), at_once=MANY_REQUESTS),
    ):
        _expect(prometheus, "CalotypeJobServiceCallsWaiting")
        _expect(prometheus, "CalotypeGatewayErrors")


def test_a_process_that_stalls_again_and_again_makes_an_alert(prometheus: PrometheusServer, stack: StackState) -> None:
    process = psutil.Process(stack.pids["uploader"][0])
    with _repeated(lambda: _stall(process), at_once=1):
        _expect(prometheus, "CalotypeEventLoopDelayed", job="calotype-uploader")


def test_every_alert_has_fired() -> None:
    assert {rule.name for rule in rules()} == SEEN


def _has_values(server: PrometheusServer, *, query: str) -> bool:
    return any(not math.isnan(sample.value) for sample in server.query(query))


def _jobs(stack: StackState) -> list[str]:
    return [f"calotype-{name}" for name in stack.admin]


def _stall(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    process.send_signal(signal.SIGCONT)
    time.sleep(1.0)


@contextmanager
def _repeated(call: Callable[[], object], *, at_once: int) -> Iterator[None]:
    """Makes a call again and again, `at_once` at the same time, until the block ends; its errors do not matter."""
    end = threading.Event()

    def repeat() -> None:
        while not end.is_set():
            try:
                call()
            except (httpx.HTTPError, psutil.Error):
                end.wait(0.1)

    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(at_once):
            pool.submit(repeat)
        try:
            yield
        finally:
            end.set()


def _expect(prometheus: PrometheusServer, name: str, **labels: str) -> None:
    """Waits for an alert with these labels, and checks that it names its runbook."""

    def firing(server: PrometheusServer) -> list[dict[str, dict[str, str]]]:
        wanted = {"alertname": name} | labels
        return [alert for alert in server.alerts() if wanted.items() <= alert["labels"].items()]

    alert = prometheus.wait(firing, what=f"the alert {name}")[0]

    assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    SEEN.add(name)
