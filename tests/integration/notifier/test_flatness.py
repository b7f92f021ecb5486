"""What claims, lists, outcomes and fan-out read does not grow with what is stored: 100,000 deliveries."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from common.sql import Connection, text
from services.notifier.application import attempts, redelivery
from services.notifier.application.redelivery import DeliveryFilters
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.endpoints import SlotShare
from services.notifier.domain.events import FAILED, JOB_EVENTS
from services.notifier.store import backlog, claims, fan_out, holding, notices, readiness, redeliveries, retention
from services.notifier.store.redeliveries import Range
from tests.support.notifier.scripted_store import SUCCESS, Tables, job_event, key_of, store_at

ENDPOINTS, DELIVERIES = 2_000, 100_000
#: One in ten is disabled, one in ten is blocked by its breaker; the last one is an origin of callback URLs.
ADD_ENDPOINTS = """
INSERT INTO webhook_endpoints (id, tenant, kind, url, is_slow, created_at, disabled_reason, disabled_at, openings,
    blocked_until)
SELECT CAST(lpad(to_hex(number), 32, '0') AS uuid), 'tenant-' || number / 2,
    CASE WHEN number = :endpoints THEN 'callback' ELSE 'endpoint' END, 'https://example.com:443',
    number % 10 = 1, now() - interval '9 days',
    CASE WHEN number % 10 = 0 AND number < :endpoints THEN 'failing' END,
    CASE WHEN number % 10 = 0 AND number < :endpoints THEN now() END,
    CASE WHEN number % 10 = 1 THEN 3 ELSE 0 END,
    CASE WHEN number % 10 = 1 THEN now() + interval '1 hour' END
FROM generate_series(1, :endpoints) AS number
"""
#: A hot endpoint and the callback URLs have a fifth each; of all deliveries one in ten is due, one in ten to come.
ADD_DELIVERIES = """
INSERT INTO webhook_deliveries (id, endpoint_id, tenant, url, event_type, job_id, sequence, occurred_at, state, due_at,
    ended_at, created_at)
SELECT CAST(lpad(to_hex(number), 32, '0') AS uuid), CAST(lpad(to_hex(endpoint), 32, '0') AS uuid),
    'tenant-' || endpoint / 2, CASE WHEN endpoint = :endpoints THEN 'https://example.com/x' END,
    CASE WHEN number % 1000 = 0 THEN 'job.canceled' ELSE 'job.completed' END, 'job_' || number, 1, now(), state,
    CASE WHEN state = 'pending' THEN now() + (number % 20 - 10) * interval '1 minute' END,
    CASE WHEN state <> 'pending' THEN now() END, now() - (:deliveries - number) * interval '1 second'
FROM (
    SELECT number,
        CASE number % 5 WHEN 0 THEN 2 WHEN 1 THEN :endpoints ELSE 1 + (number / 5) % (:endpoints - 1) END AS endpoint,
        CASE WHEN number % 5000 < 3 THEN 'failed' WHEN number % 7 = 0 THEN 'pending' ELSE 'delivered' END AS state
    FROM generate_series(1, :deliveries) AS number) AS numbered
"""
ADD_SECRETS = """
INSERT INTO webhook_secrets (id, tenant, endpoint_id, key)
SELECT gen_random_uuid(), tenant, id, sha256('x') FROM webhook_endpoints
"""
HOT, CALLBACK = UUID(int=2), UUID(int=ENDPOINTS)
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) AS n FROM pg_stat_xact_user_tables
WHERE relname LIKE 'webhook%'
"""


@pytest.fixture(scope="module")
def full(module_database: str) -> Iterator[Tables]:
    """A store with much in it, which its tests leave as it is."""
    with store_at(module_database) as store:
        fill(store)
        yield store


def fill(store: Tables) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(ADD_ENDPOINTS), {"endpoints": ENDPOINTS})
        connection.execute(text(ADD_DELIVERIES), {"endpoints": ENDPOINTS, "deliveries": DELIVERIES})
        connection.execute(text(ADD_SECRETS))
        readiness.refresh(connection, [UUID(int=number) for number in range(1, ENDPOINTS + 1)])

    store.run(work)
    store.sql("ANALYZE webhook_endpoints, webhook_deliveries, webhook_secrets")


class Undone(Exception):
    """Ends a transaction without its changes."""


def rows_read(store: Tables, work: Callable[[Connection], Any]) -> tuple[int, Any]:
    """Rows that work reads, and its result; what it changes is undone."""
    measured: list[Any] = []

    def measure(connection: Connection) -> None:
        before = connection.execute(text(ROWS_READ)).scalar_one()
        result = work(connection)
        measured.extend((int(connection.execute(text(ROWS_READ)).scalar_one() - before), result))
        raise Undone

    with pytest.raises(Undone):
        store.run(measure)
    return measured[0], measured[1]


def test_a_claim(full: Tables) -> None:
    for share in SlotShare:
        read, claimed = rows_read(full, partial(claims.claim, share=share, limit=10, per_minute=6_000))
        assert len(claimed) == (10 if share is SlotShare.NORMAL else 0)
        assert read < 400


def test_a_fan_out(full: Tables) -> None:
    events = [
        job_event(f"new_{number}", type_=JOB_EVENTS[number % 4], tenant=f"tenant-{number}", callback_url=url)
        for number, url in [(1, None), (2, None), (3, "https://new.example/"), (1_000, "https://example.com/y")]
    ]
    read, created = rows_read(full, partial(fan_out.fan_out, events=events, new_key=lambda: key_of()))
    assert created >= 6
    assert read < 400


def test_an_outcome(full: Tables) -> None:
    def work(connection: Connection) -> Any:
        claim = claims.claim(connection, SlotShare.NORMAL, limit=1, per_minute=6_000)[0]
        return attempts.record(connection, claim.delivery, SUCCESS)

    read, recorded = rows_read(full, work)
    assert recorded.state is DeliveryState.DELIVERED
    assert read < 200


FILTERS = [
    DeliveryFilters(tenant=tenant, webhook_id=webhook_id, state=state, event_type=event_type)
    for tenant, webhook_id in [("tenant-1", f"wh_{HOT.hex}"), ("tenant-1000", "")]
    for state in (None, DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.HELD)
    for event_type in ("", "job.canceled", FAILED)
] + [DeliveryFilters(tenant="tenant-1", job_id="job_5"), DeliveryFilters(tenant="tenant-1000", job_id="job_1")]


@pytest.mark.parametrize(
    "filters", FILTERS, ids=lambda filters: f"{filters.webhook_id[:2]} {filters.state} {filters.event_type}"
)
def test_a_list(full: Tables, filters: DeliveryFilters) -> None:
    read, (page, token) = rows_read(full, partial(redelivery.list_page, filters=filters, page_size=5, page_token=""))
    assert read < 100
    if token:
        second = partial(redelivery.list_page, filters=filters, page_size=5, page_token=token)
        read, (later, _) = rows_read(full, second)
        assert read < 100
        assert max(delivery.id for delivery in later) < min(delivery.id for delivery in page)


def test_a_batch_of_a_range(full: Tables) -> None:
    def work(connection: Connection) -> int:
        [row] = connection.execute(text("SELECT now() - interval '1 day' AS at, now() AS until"))
        wanted = Range(endpoint_id=HOT, created_after=row.at, created_before=row.until)
        redeliveries.add(connection, wanted)
        found = redeliveries.next_range(connection, after=None)
        assert found is not None
        return redeliveries.work_off(connection, *found, limit=5)

    read, redelivered = rows_read(full, work)
    assert redelivered == 5
    assert read < 200


@pytest.mark.parametrize(
    "work",
    [
        partial(attempts.abandon_expired, limit=50),
        partial(holding.hold, limit=500),
        partial(holding.fail_expired, limit=50),
        partial(redeliveries.next_range, after=None),
        partial(retention.delete_batch, limit=500),
        partial(retention.forget_deliveries, limit=500),
        partial(retention.forget_requests, limit=500),
        partial(retention.forget_secrets, limit=500),
        partial(retention.forget_origins, limit=50),
        partial(notices.fan_out, limit=100),
    ],
    ids=lambda work: f"{work.func.__module__.rpartition('.')[2]}.{work.func.__name__}",
)
def test_loops_that_find_nothing(full: Tables, work: Callable[[Connection], Any]) -> None:
    read, found = rows_read(full, work)
    assert not found or found == (0, 0)
    assert read < 50


def test_counts_of_a_backlog_end_at_their_bound(full: Tables) -> None:
    read, found = rows_read(full, partial(backlog.read, limit=100))

    assert found.deliveries["due"] + found.deliveries["later"] == 100
    assert sum(found.unhealthy.values()) == 100
    assert read < 2_000
