"""Dashboards and alerts on a real Prometheus that scrapes the running stack.

Panels have data under a small load, those that need a fault during that fault; each alert fires once; the panels alone
tell five faults apart. `ALERTS=all` plays the long form; without it, two alerts fire.
"""

import asyncio
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg2
import pytest

from cli.stack.keys import write_private
from cli.stack.state import StackState
from tests.support.brokers.facts import broker_at, publish
from tests.support.monitoring import boards
from tests.support.monitoring.alert_rules import rules, write_immediate
from tests.support.monitoring.faults import accepting_receiver, certified_gateway, held_row
from tests.support.monitoring.prometheus_server import PrometheusServer, prometheus_server
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import KEY, Books
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.running_stack import running_stack
from tests.support.stacks.stack_clients import Client, RetryingTransport, caller, expire_lease

PROVIDERS = """
default: procedural
providers:
  - {{name: procedural, kind: procedural}}
  - name: paid
    kind: replicate
    base_url: {url}
    api_key_env: PAID_API_KEY
    poll_interval_seconds: 0.1
    max_concurrency: 8
    models: [{{name: test/model, price_micros_per_image: 40000}}]
  - name: strict
    kind: openai
    base_url: {url}/says/moderation_blocked
    api_key_env: PAID_API_KEY
    models: [{{name: m}}]
  - name: denied
    kind: replicate
    base_url: {url}
    api_key_env: WRONG_API_KEY
    models: [{{name: test/model}}]
"""
PANELS = boards.panels()
long_form = pytest.mark.skipif(os.environ.get("ALERTS") != "all", reason="ALERTS=all plays it")
#: More than the gateway's slots for calls to job-service.
MANY_REQUESTS = 48
PAID = {"provider": "paid", "model": "test/model"}
#: What a person concludes from the dashboards alone: dashboard, panel, labels, and a value above which the fault is on.
SIGNS: dict[str, tuple[str, str, dict[str, str], float]] = {
    "no generator works": ("overview", "Age of the oldest work", {"work": "job"}, 300),
    "no uploader works": ("overview", "Age of the oldest work", {"work": "upload"}, 300),
    "the broker does not respond": ("overview", "Age of the oldest work", {"work": "outbox"}, 60),
    "job-service does not respond": ("overview", "Errors of the service", {}, 0.05),
    "a provider rejects the key": ("providers", "Open breakers", {"provider": "denied"}, 0.5),
}
#: Alerts that a test below has seen firing, panels that had data only during a fault, and faults that panels showed.
FIRED: set[str] = set()
SHOWN: set[str] = set()
DIAGNOSED: set[str] = set()


@pytest.fixture(scope="module")
def folder(server_folder: Path) -> Path:
    return server_folder / "watched"


@pytest.fixture(scope="module")
def watched(folder: Path, books: Books) -> Iterator[StackState]:
    """A stack of these tests' own, as their faults leave traces in it."""
    settings = {
        "PAID_API_KEY": KEY,
        "WRONG_API_KEY": "wrong",
        "CALOTYPE_LEASE_SECONDS": "15",
        "CALOTYPE_MONITOR_INTERVAL_SECONDS": "0.5",
        # Receivers of tests are on this machine.
        "CALOTYPE_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    with running_stack(folder, providers=PROVIDERS.format(url=books.url), settings=settings) as state:
        yield state


@pytest.fixture(scope="module")
def prometheus(watched: StackState, server_folder: Path) -> Iterator[PrometheusServer]:
    """Scrapes all services of the stack each second; alerts fire at once."""
    targets = {f"calotype-{name}": [urlsplit(url).netloc for url in urls] for name, urls in watched.admin.items()}
    files = server_folder / "prometheus"
    with prometheus_server(files, targets, rules=write_immediate(files / "rules")) as server:
        yield server


@pytest.fixture(autouse=True)
def recovered(watched: StackState) -> None:
    """The gateway reaches job-service again after the fault of the test before."""
    deadline = time.monotonic() + PATIENCE
    with caller(watched) as http:
        while http.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "the stack did not recover"
            time.sleep(0.1)


@pytest.fixture
def client(watched: StackState) -> Iterator[Client]:
    with caller(watched, transport=RetryingTransport()) as opened:
        yield Client(opened)


@contextmanager
def load(stack: StackState) -> Iterator[None]:
    """A small load: jobs that succeed, fail and cost money, webhooks, and requests that are refused."""
    end = threading.Event()
    with (
        caller(stack, transport=RetryingTransport()) as opened,
        accepting_receiver() as receiver,
        ThreadPoolExecutor(1) as pool,
    ):
        running = pool.submit(_load, Client(opened), end, receiver)
        try:
            yield
        finally:
            end.set()
        running.result()


def _load(client: Client, end: threading.Event, receiver: str) -> None:
    done = client.follow(client.submit("a first one")["id"])["id"]
    while not end.is_set():
        client.submit("a harbour at dawn", callback_url=receiver)
        client.submit("a ship", **PAID)
        client.submit("a lantern", provider="strict", model="m")
        client.http.post(f"/v1/jobs/{done}/cancel")
        end.wait(2)


def test_every_service_is_scraped(prometheus: PrometheusServer, watched: StackState) -> None:
    wanted = {f"calotype-{name}" for name in watched.admin}

    prometheus.wait(lambda server: {each.labels["job"] for each in server.query("up == 1")} == wanted, what="all up")

    assert {target["lastError"] for target in prometheus.targets()} == {""}


def test_every_panel_has_data_and_durations_lead_to_traces(prometheus: PrometheusServer, watched: StackState) -> None:
    with load(watched):
        queries = {(panel.name, query) for panel in PANELS if not panel.needs for query in panel.substituted()}
        _expect_data(prometheus, queries)
        query = boards.panel("overview", "Time to a response").substituted()[0]
        exemplars = prometheus.wait(lambda server: server.exemplars(query), what="an exemplar")

    assert all(len(exemplar["labels"]["trace_id"]) == 32 for exemplar in exemplars)


def test_a_process_that_is_stuck_makes_an_alert(prometheus: PrometheusServer, folder: Path) -> None:
    with frozen(folder, "notifier"):
        _expect(prometheus, "CalotypeTargetDown", job="calotype-notifier")


@long_form
def test_an_outage_of_job_service_makes_alerts(prometheus: PrometheusServer, folder: Path, watched: StackState) -> None:
    with (
        frozen(folder, "job"),
        caller(watched) as http,
        _repeated(lambda: http.get("/v1/jobs"), at_once=MANY_REQUESTS),
    ):
        _expect(prometheus, "CalotypeJobServiceCallsWaiting")
        _expect(prometheus, "CalotypeGatewayErrors")
        _expect_diagnosis(prometheus, "job-service does not respond")


@long_form
def test_a_process_that_stalls_again_and_again_makes_an_alert(
    prometheus: PrometheusServer, watched: StackState
) -> None:
    process = psutil.Process(watched.pids["notifier"][0])
    with _repeated(lambda: _stall(process), at_once=1):
        _expect(prometheus, "CalotypeEventLoopDelayed", job="calotype-notifier")


@long_form
def test_a_queue_without_generators_makes_an_alert(
    prometheus: PrometheusServer, folder: Path, watched: StackState, client: Client
) -> None:
    with frozen(folder, "generator"):
        job = client.submit("nobody claims this")["id"]
        _execute(watched, "UPDATE jobs SET run_at = run_at - interval '10 minutes' WHERE id = %s", job)
        _expect(prometheus, "CalotypeQueueOld")
        _expect_diagnosis(prometheus, "no generator works")


@long_form
def test_images_without_uploaders_make_an_alert(
    prometheus: PrometheusServer, folder: Path, watched: StackState, client: Client
) -> None:
    with frozen(folder, "uploader"):
        job = client.submit("nobody uploads this")["id"]
        client.follow(job, until=("uploading",))
        expire_lease(watched.database_url, job)
        # The monitor, which ends the claim, sets the time anew.
        past = "UPDATE jobs SET run_at = run_at - interval '10 minutes' WHERE id = %s AND lease_token IS NULL"
        _execute(watched, past, job)
        _expect(prometheus, "CalotypeUploadsStuck")
        _expect_diagnosis(prometheus, "no uploader works")


@long_form
def test_a_deletion_that_nobody_does_makes_an_alert(
    prometheus: PrometheusServer, folder: Path, watched: StackState, client: Client
) -> None:
    job = client.submit("to be deleted")["id"]
    client.follow(job)
    with frozen(folder, "uploader"):
        assert client.http.delete(f"/v1/jobs/{job}").status_code == 204
        _execute(watched, "UPDATE deletions SET asked_at = asked_at - interval '1 hour' WHERE job_id = %s", job)
        _expect(prometheus, "CalotypeDeletionsBehind")


@long_form
def test_workers_that_vanish_and_facts_that_are_not_applied_make_alerts(
    prometheus: PrometheusServer, folder: Path, watched: StackState, client: Client, books: Books
) -> None:
    books.finish.clear()
    try:
        jobs = [client.submit("slow", **PAID)["id"] for _ in range(5)]
        for job in jobs:
            client.wait_for_call(job, phase="accepted")
        # A generator that goes on would renew a lease before the monitor takes it.
        with frozen(folder, "generator"):
            for job in jobs:
                expire_lease(watched.database_url, job)
            _expect(prometheus, "CalotypeLeasesLost")

        client.follow(jobs[0], until=("generating",))
        back, on = (f"generating_since = generating_since {sign} interval '1 hour'" for sign in "-+")
        with held_row(watched.database_url, "jobs", jobs[0], change=back, undo=on):
            _expect(prometheus, "CalotypeStageStuck", stage="generating")
            books.finish.set()
            _expect(prometheus, "CalotypeFactsBehind")
    finally:
        books.finish.set()
    for job in jobs:
        client.follow(job)


@long_form
def test_a_broker_that_does_not_respond_makes_an_alert(
    prometheus: PrometheusServer, folder: Path, watched: StackState, client: Client
) -> None:
    with frozen(folder, "nats"):
        job = client.submit("nobody hears of this")["id"]
        past = "UPDATE job_events SET occurred_at = occurred_at - interval '10 minutes' WHERE job_id = %s"
        _execute(watched, past, job)
        _expect(prometheus, "CalotypeOutboxBehind")
        _expect_diagnosis(prometheus, "the broker does not respond")
    client.follow(job)


@long_form
def test_webhooks_that_nobody_sends_make_an_alert(
    prometheus: PrometheusServer, watched: StackState, client: Client
) -> None:
    with accepting_receiver() as receiver:
        client.follow(client.submit("its receiver waits", callback_url=receiver)["id"])
        database = watched.notifier_database_url
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM webhook_endpoints ORDER BY created_at DESC LIMIT 1")
            [(endpoint,)] = cursor.fetchall()
        change = "is_slow = false, ready_at = now() - interval '10 minutes'"
        with held_row(database, "webhook_endpoints", endpoint, change=change, undo="ready_at = now()"):
            _expect(prometheus, "CalotypeWebhooksBehind", share="normal")


@long_form
def test_a_certificate_that_expires_soon_makes_an_alert(prometheus: PrometheusServer, server_folder: Path) -> None:
    with certified_gateway(server_folder / "certified") as address:
        prometheus.add("calotype-certified", address)
        _expect(prometheus, "CalotypeCertificateExpiring", file="grpc", job="calotype-certified")
        _expect_shown(prometheus, "infrastructure", "Certificates")


@long_form
def test_a_key_that_ends_soon_makes_an_alert(prometheus: PrometheusServer, folder: Path) -> None:
    keys = folder / "keys.yaml"
    before = keys.read_text(encoding="utf-8")
    end = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    entry = f"  - {{name: ending, key_sha256: ['{'0' * 64}'], key_expires_at: {{'{'0' * 64}': {end}}}}}\n"
    write_private(keys, before + entry)
    try:
        _expect(prometheus, "CalotypeAccessEnding", role="tenant")
        _expect_shown(prometheus, "infrastructure", "Keys of tenants")
    finally:
        write_private(keys, before)


@long_form
def test_a_message_that_is_none_makes_an_alert(prometheus: PrometheusServer, watched: StackState) -> None:
    async def send() -> None:
        async with broker_at(watched.nats_url) as broker:
            await publish(broker, [b"no fact"])

    asyncio.run(send())

    _expect(prometheus, "CalotypeDeadLetters")


@long_form
def test_calls_that_fail_and_cost_make_alerts(prometheus: PrometheusServer, client: Client) -> None:
    with _repeated(lambda: client.follow(client.submit("failed", **PAID)["id"]), at_once=2):
        _expect(prometheus, "CalotypeProviderErrorBudget", provider="paid")
    with _repeated(lambda: client.follow(client.submit("good", **PAID)["id"]), at_once=8):
        _expect(prometheus, "CalotypeSpendHigh")


@long_form
def test_a_call_of_unknown_outcome_makes_an_alert(prometheus: PrometheusServer, client: Client) -> None:
    client.submit("drops", **PAID)

    _expect(prometheus, "CalotypeOutcomesUnknown", provider="paid")


def test_a_provider_that_rejects_the_key_makes_an_alert(prometheus: PrometheusServer, client: Client) -> None:
    for _ in range(5):
        client.submit("a key that is wrong", provider="denied", model="test/model")

    _expect(prometheus, "CalotypeBreakerOpen", provider="denied")
    _expect_diagnosis(prometheus, "a provider rejects the key")
    _expect_shown(prometheus, "providers", "Open breakers")
    _expect_shown(prometheus, "providers", "Changes of breakers")


@long_form
def test_every_alert_has_fired_every_panel_had_data_and_each_fault_was_told_apart() -> None:
    assert {rule.name for rule in rules()} == FIRED
    assert {panel.name for panel in PANELS if panel.needs} == SHOWN
    assert SIGNS.keys() == DIAGNOSED


def _expect_data(prometheus: PrometheusServer, queries: set[tuple[str, str]]) -> None:
    """Waits until every query, given with its panel's name, has returned a number."""
    deadline = time.monotonic() + PATIENCE / 2
    while queries and time.monotonic() < deadline:
        queries = {(panel, query) for panel, query in queries if not _has_values(prometheus, query)}
        time.sleep(0.2)

    assert queries == set()


def _expect_shown(prometheus: PrometheusServer, board: str, title: str) -> None:
    """Waits until a panel has data during the fault that it needs."""
    panel = boards.panel(board, title)
    _expect_data(prometheus, {(panel.name, query) for query in panel.substituted()})
    SHOWN.add(panel.name)


def _expect_diagnosis(prometheus: PrometheusServer, fault: str) -> None:
    """Waits until the dashboards show this fault, and none of the other four."""
    prometheus.wait(lambda server: _diagnosis(server) == {fault}, what=f"that {fault}", seconds=PATIENCE / 2)
    DIAGNOSED.add(fault)


def _diagnosis(server: PrometheusServer) -> set[str]:
    return {
        fault
        for fault, (board, title, labels, bound) in SIGNS.items()
        for query in boards.panel(board, title).substituted()
        for sample in server.query(query)
        if labels.items() <= sample.labels.items() and sample.value > bound
    }


def _has_values(server: PrometheusServer, query: str) -> bool:
    return any(not math.isnan(sample.value) for sample in server.query(query))


def _execute(stack: StackState, statement: str, job_id: str) -> None:
    """Executes an UPDATE of a job's rows, as soon as it finds one."""
    deadline = time.monotonic() + PATIENCE / 2
    with closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement, (job_id,))
        while cursor.rowcount == 0:
            assert time.monotonic() < deadline, f"no row: {statement}"
            time.sleep(0.1)
            cursor.execute(statement, (job_id,))


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
            except (AssertionError, httpx.HTTPError, psutil.Error):
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

    def firing(server: PrometheusServer) -> list[dict[str, Any]]:
        wanted = {"alertname": name} | labels
        return [alert for alert in server.alerts() if wanted.items() <= alert["labels"].items()]

    alert = prometheus.wait(firing, what=f"the alert {name}", seconds=PATIENCE / 2)[0]

    assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    FIRED.add(name)
