"""Housekeeping in the background: what is much is worked off in several runs, and expired leases never wait for it."""

import asyncio
from datetime import UTC, datetime

import pytest

from common.postgres import Database
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.loops import housekeeping as module
from services.notifier.loops.housekeeping import Housekeeping
from services.notifier.store import redeliveries
from services.notifier.store.redeliveries import Range
from tests.support.notifier.scripted_store import Tables, job_event
from tests.support.patience import PATIENCE, pause


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows and few transactions at a time; nothing runs without a wake-up."""
    monkeypatch.setattr(module, "BATCH", 5)
    monkeypatch.setattr(module, "SMALL_BATCH", 2)
    monkeypatch.setattr(module, "MAX_BATCHES", 2)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", PATIENCE)


async def run_until(database: Database, store: Tables, statement: str) -> int:
    """Run housekeeping, woken once, until a query finds nothing; returns how often the dispatcher was woken."""
    woken: list[None] = []
    loop, stop = Housekeeping(database, delivered=lambda: woken.append(None)), asyncio.Event()
    task = asyncio.create_task(loop.run(stop))
    loop.wake()
    async with asyncio.timeout(PATIENCE):
        while store.sql(statement):
            await pause()
    stop.set()
    await task
    return len(woken)


@pytest.mark.usefixtures("small")
async def test_many_deliveries_of_disabled_endpoints_become_held(database: Database, store: Tables) -> None:
    endpoints = [store.endpoint() for _ in range(2)]
    store.fan_out(*(job_event(f"job_{number}") for number in range(23)))
    for endpoint in endpoints:
        store.change(endpoint, enabled=False)
    await run_until(database, store, "SELECT 1 FROM webhook_endpoints WHERE is_holding")
    assert set(store.states().values()) == {DeliveryState.HELD}


@pytest.mark.usefixtures("small")
async def test_ranges_take_turns_until_all_are_done(database: Database, store: Tables) -> None:
    endpoints = [store.endpoint() for _ in range(2)]
    for endpoint in endpoints:
        store.change(endpoint, enabled=False)
    store.fan_out(*(job_event(f"job_{number}") for number in range(23)))
    for endpoint in endpoints:
        store.change(endpoint, enabled=True)
        wanted = Range(
            endpoint_id=endpoint.id,
            created_after=datetime(2026, 1, 1, tzinfo=UTC),
            created_before=datetime(2100, 1, 1, tzinfo=UTC),
        )
        store.run(lambda c, wanted=wanted: redeliveries.add(c, wanted))
    assert await run_until(database, store, "SELECT 1 FROM webhook_redeliveries") > 0
    assert set(store.states().values()) == {DeliveryState.PENDING}


@pytest.mark.usefixtures("small")
async def test_deleted_endpoints_go_with_all_their_rows(database: Database, store: Tables) -> None:
    for _ in range(30):
        store.endpoint()
    store.fan_out(job_event("job_1"), job_event("job_2", callback_url="https://one.example/"))
    store.sql("UPDATE webhook_endpoints SET deleted_at = now(), ready_at = NULL")
    await run_until(database, store, "SELECT 1 FROM webhook_endpoints")
    assert store.states() == {}


@pytest.mark.usefixtures("small")
async def test_expired_leases_return_and_wake_the_dispatcher(database: Database, store: Tables) -> None:
    for _ in range(7):
        store.working()
    store.fan_out(job_event())
    assert len(store.claim()) == 7
    store.pass_time(minutes=1)
    assert await run_until(database, store, "SELECT 1 FROM webhook_deliveries WHERE state = 'sending'") > 0
    store.pass_time(minutes=1)
    assert len(store.claim()) == 7
