"""Which deliveries a page of events creates."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.sql import Connection, text
from services.notifier.application import webhook_creation
from services.notifier.application.webhook_requests import NewWebhook
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.endpoints import CLOCK_TOLERANCE
from services.notifier.domain.events import CANCELED, FAILED, SETTLED
from services.notifier.store import cursor, fan_out, retention
from tests.support.job_service.counted_statements import counted_statements
from tests.support.notifier.scripted_store import Tables, job_event, key_of
from tests.support.patience import PATIENCE

PENDING, HELD = DeliveryState.PENDING, DeliveryState.HELD


def test_each_endpoint_of_the_tenant_gets_the_types_that_it_lists(store: Tables) -> None:
    everything, ends = store.endpoint(), store.endpoint(types=[FAILED, CANCELED])
    store.endpoint(tenant="other")
    store.fan_out(job_event("job_1", type_=FAILED), job_event("job_2"), job_event("job_3", tenant="stranger"))
    assert set(store.states(everything)) == {("job_1", 1), ("job_2", 1)}
    assert set(store.states(ends)) == {("job_1", 1)}
    assert len(store.states()) == 2


def test_an_endpoint_gets_what_occurred_since_it_was_created(store: Tables) -> None:
    endpoint = store.endpoint()
    first = endpoint.created_at - CLOCK_TOLERANCE
    before = first - timedelta(microseconds=1)
    store.fan_out(job_event("job_1", occurred_at=before), job_event("job_2", occurred_at=first))
    assert set(store.states()) == {("job_2", 1)}


@pytest.mark.parametrize("minutes", [-5, 5], ids=["behind", "ahead"])
def test_where_the_clock_of_job_service_differs_no_event_is_lost_and_the_order_stays(
    store: Tables, minutes: int
) -> None:
    endpoint = store.endpoint()
    now = endpoint.created_at + timedelta(minutes=minutes)
    store.fan_out(job_event("job_1", 3, FAILED, occurred_at=now))
    # Job-service's clock was set back, so that the later event has the earlier time.
    store.fan_out(job_event("job_1", 6, CANCELED, occurred_at=now - timedelta(minutes=4)))
    store.fan_out(job_event("job_1", 7, SETTLED, occurred_at=now - timedelta(minutes=3)))
    assert store.states(endpoint) == {
        ("job_1", 3): DeliveryState.SUPERSEDED,
        ("job_1", 6): PENDING,
        ("job_1", 7): DeliveryState.WAITING,
    }
    assert [claim.delivery.sequence for claim in store.claim()] == [6]


def test_a_disabled_endpoint_holds_its_events_and_a_deleted_one_gets_none(store: Tables) -> None:
    disabled, deleted = store.endpoint(), store.endpoint()
    store.change(disabled, enabled=False)
    store.sql("UPDATE webhook_endpoints SET deleted_at = now(), ready_at = NULL WHERE id = :id", id=deleted.id)
    store.fan_out(job_event())
    assert (store.states(disabled), store.states(deleted)) == ({("job_1", 1): HELD}, {})
    assert store.claim() == []


def test_callback_urls_of_one_origin_share_a_hidden_endpoint(store: Tables) -> None:
    urls = ["https://one.example/a", "https://ONE.example:443/b?c", "http://one.example/a", "https://two.example/a"]
    store.fan_out(*(job_event(f"job_{number}", callback_url=url) for number, url in enumerate(urls)))
    store.fan_out(job_event("job_9", callback_url="https://one.example/d", tenant="other"))
    found = store.sql("SELECT tenant, url FROM webhook_endpoints WHERE kind = 'callback' ORDER BY tenant, url")
    assert [tuple(row) for row in found] == [
        ("acme", "http://one.example:80"),
        ("acme", "https://one.example:443"),
        ("acme", "https://two.example:443"),
        ("other", "https://one.example:443"),
    ]
    claimed = {claim.delivery.job_id: claim for claim in store.claim()}
    assert [claimed[f"job_{number}"].delivery.url for number in range(4)] == urls
    assert [secret.tenant for secret in claimed["job_9"].secrets] == ["other"]
    assert all(len(claim.secrets) == 1 and claim.secrets[0].endpoint_id is None for claim in claimed.values())


def test_a_callback_url_gets_every_event_of_its_job_in_order(store: Tables) -> None:
    url = "https://one.example/a"
    old = datetime.now(UTC) - timedelta(days=1)
    store.fan_out(
        job_event(sequence=3, type_=CANCELED, callback_url=url, occurred_at=old),
        job_event(sequence=4, type_=SETTLED, callback_url=url),
    )
    assert store.deliver() == [("job_1", 3), ("job_1", 4)]


def test_an_endpoint_and_a_callback_url_both_get_an_event(store: Tables) -> None:
    endpoint = store.endpoint(url="https://one.example/a")
    store.fan_out(job_event(callback_url="https://one.example/a"))
    assert len(store.claim()) == 2
    assert len(store.states(endpoint)) == 1


@pytest.mark.parametrize("url", ["not a url", "https://user@one.example/", "https://one.example:99999/"])
def test_a_callback_url_that_is_none_does_not_stop_the_feed(store: Tables, url: str) -> None:
    store.fan_out(job_event("job_1", callback_url=url), job_event("job_2", callback_url="https://one.example/"))
    assert {claim.delivery.url for claim in store.claim()} == {url, "https://one.example/"}


def test_an_origin_whose_rows_are_being_deleted_begins_anew(store: Tables) -> None:
    store.fan_out(job_event("job_1", callback_url="https://one.example/"))
    store.sql("UPDATE webhook_endpoints SET deleted_at = now(), ready_at = NULL")
    store.fan_out(job_event("job_2", callback_url="https://one.example/"))
    assert [claim.delivery.job_id for claim in store.claim()] == ["job_2"]
    while store.run(lambda c: retention.delete_batch(c, limit=500)):
        pass
    assert set(store.states()) == {("job_2", 1)}


def test_an_origin_that_is_deleted_during_a_fan_out_loses_no_event(store: Tables) -> None:
    store.fan_out(job_event("job_1", callback_url="https://one.example/"))
    store.sql("DELETE FROM webhook_deliveries")
    store.pass_time(days=31)

    def forget(connection: Connection) -> Any:
        retention.forget_origins(connection, limit=50)
        late = threads.submit(store.fan_out, job_event("job_2", callback_url="https://one.example/"))
        waiting = text("SELECT 1 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
        while not store.run(lambda c: c.execute(waiting).first()):
            assert not late.done()
        return late

    with ThreadPoolExecutor(1) as threads:
        store.run(forget).result(PATIENCE)
    assert [claim.delivery.job_id for claim in store.claim()] == ["job_2"]


def test_the_number_of_statements_does_not_grow_with_the_page(store: Tables) -> None:
    for number in range(5):
        store.endpoint(url=f"https://{number}.example/")

    def statements(*jobs: str) -> int:
        events = [job_event(job, type_=FAILED, callback_url=f"https://{job}.example/") for job in jobs]
        with counted_statements() as sent:
            created = store.run(lambda c: fan_out.fan_out(c, events, new_key=key_of))
        assert created == 6 * len(jobs)
        return len(sent)

    assert statements("job-1") == statements(*(f"job-{number}" for number in range(2, 102)))


def test_an_endpoint_that_is_created_during_a_fan_out_misses_no_later_event(store: Tables) -> None:
    def create(connection: Connection) -> Any:
        new = NewWebhook(tenant="acme", url="https://example.com/")
        created = webhook_creation.create(connection, new, per_tenant=20, new_key=key_of)
        moved = threads.submit(store.run, lambda c: (cursor.lock(c), fan_out.fan_out(c, events, new_key=key_of)))
        waiting = text("SELECT 1 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
        while not store.run(lambda c: c.execute(waiting).first()):
            assert not moved.done()
        return created.webhook.endpoint, moved

    events = [job_event("job_1", occurred_at=datetime.now(UTC) + timedelta(hours=1))]
    with ThreadPoolExecutor(1) as threads:
        endpoint, moved = store.run(create)
        moved.result(PATIENCE)
    assert store.states(endpoint) == {("job_1", 1): PENDING}


#: The plan of tables that are small, or were small when the database last looked at them.
PLAN = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"


def test_endpoints_that_change_during_a_fan_out_get_the_event(store: Tables) -> None:
    endpoints = [store.working(url=f"https://{number}.example/") for number in range(4)]
    waiting = text("SELECT 1 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
    events = [job_event("job_1", callback_url="https://callback.example/hook")]

    def insert(connection: Connection) -> int:
        connection.execute(text(PLAN))
        return fan_out.fan_out(connection, events, new_key=key_of)

    def change(connection: Connection) -> Any:
        """As claims and outcomes do, while a page of events waits for the rows."""
        connection.execute(text("UPDATE webhook_endpoints SET served_at = now()"))
        created = threads.submit(store.run, insert)
        while not store.run(lambda c: c.execute(waiting).first()):
            assert not created.done()
        return created

    with ThreadPoolExecutor(1) as threads:
        assert store.run(change).result(PATIENCE) == 5
    assert all(store.states(endpoint) == {("job_1", 1): PENDING} for endpoint in endpoints)
