"""The event feed: every event is read once, whoever reads it, and the position moves with the deliveries."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from common.errors import ServiceError
from common.postgres import Database
from services.notifier.domain.events import FAILED
from services.notifier.loops import event_feed
from services.notifier.loops.event_feed import EventFeed
from services.notifier.loops.notices import Notices
from services.notifier.store import cursor
from tests.support.notifier.scripted_store import ScriptedJobService, Tables, job_event, key_of
from tests.support.patience import PATIENCE, pause


class Woken:
    """Counts wake-ups of the dispatcher."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def feed_of(
    database: Database, job_service: ScriptedJobService, delivered: Callable[[], object] = lambda: None
) -> EventFeed:
    """A process's feed."""
    return EventFeed(database, job_service, delivered=delivered, new_key=key_of, poll_seconds=PATIENCE)


def position(store: Tables) -> str | None:
    """The stored token."""
    token: str | None = store.run(cursor.read).resume_token
    return token


async def test_all_pages_are_read_and_the_dispatcher_is_woken(
    database: Database, job_service: ScriptedJobService, store: Tables
) -> None:
    store.endpoint()
    job_service.events = [job_event(f"job_{number}") for number in range(450)]
    woken = Woken()
    counts = await feed_of(database, job_service, woken).run_once()
    assert counts == {"events": 450, "deliveries": 450}
    assert (job_service.read, woken.times) == ([None, "200", "400"], 3)
    assert (position(store), len(store.states())) == ("450", 450)


async def test_nothing_new_is_no_transaction_and_wakes_nobody(
    database: Database, job_service: ScriptedJobService, store: Tables
) -> None:
    job_service.events = [job_event()]
    feed, woken = feed_of(database, job_service), Woken()
    await feed.run_once()
    assert await feed_of(database, job_service, woken).run_once() == {"events": 0, "deliveries": 0}
    assert (woken.times, position(store)) == (0, "1")


async def test_of_two_processes_that_read_the_same_page_one_stores_it(
    database: Database, job_service: ScriptedJobService, store: Tables
) -> None:
    store.endpoint()
    job_service.events = [job_event(f"job_{number}", number + 1, FAILED) for number in range(900)]
    woken = [Woken() for _ in range(3)]
    counts = await asyncio.gather(*(feed_of(database, job_service, each).run_once() for each in woken))
    assert sum(each["events"] for each in counts) == sum(each["deliveries"] for each in counts) == 900
    assert (position(store), len(store.states())) == ("900", 900)


async def test_a_page_that_another_process_stored_meanwhile_is_discarded(
    database: Database, job_service: ScriptedJobService, store: Tables
) -> None:
    store.endpoint()
    job_service.events = [job_event("job_1"), job_event("job_2")]

    def overtake() -> None:
        job_service.meanwhile = lambda: None
        store.run(lambda c: cursor.move(c, "1"))

    job_service.meanwhile = overtake
    assert (await feed_of(database, job_service).run_once())["events"] == 1
    assert (job_service.read, set(store.states())) == ([None, "1"], {("job_2", 1)})


async def test_a_page_whose_transaction_fails_is_read_again(
    database: Database, job_service: ScriptedJobService, store: Tables
) -> None:
    store.endpoint()
    job_service.events = [job_event()]
    store.sql("ALTER TABLE webhook_deliveries ADD CONSTRAINT none_at_all CHECK (false) NOT VALID")
    try:
        with pytest.raises(Exception, match="none_at_all") as caught:
            await feed_of(database, job_service).run_once()
        assert not isinstance(caught.value, OperationalError)
    finally:
        store.sql("ALTER TABLE webhook_deliveries DROP CONSTRAINT none_at_all")
    assert (position(store), store.states()) == (None, {})
    assert (await feed_of(database, job_service).run_once())["deliveries"] == 1


async def test_without_job_service_the_position_stays(
    database: Database, job_service: ScriptedJobService, store: Tables
) -> None:
    job_service.is_away = True
    with pytest.raises(ServiceError):
        await feed_of(database, job_service).run_once()
    assert position(store) is None


async def test_wakeups_are_answered_by_one_read_at_a_time(
    database: Database, job_service: ScriptedJobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "COALESCED_SECONDS", PATIENCE)
    feed, stop = feed_of(database, job_service), asyncio.Event()
    task = asyncio.create_task(feed.run(stop))
    async with asyncio.timeout(PATIENCE):
        while not job_service.read:
            await pause()
    for _ in range(20):
        feed.wake()
        await pause()
    assert len(job_service.read) == 1
    stop.set()
    await task


async def test_no_wakeup_is_lost(database: Database, job_service: ScriptedJobService, store: Tables) -> None:
    store.endpoint()
    feed, stop = feed_of(database, job_service), asyncio.Event()
    task = asyncio.create_task(feed.run(stop))
    async with asyncio.timeout(PATIENCE):
        for number in range(20):
            job_service.events.append(job_event(f"job_{number}"))
            feed.wake()
            await asyncio.sleep(0)
        while len(store.states()) < 20:
            await pause()
    stop.set()
    await task


async def test_notices_become_deliveries_when_the_loop_is_woken(database: Database, store: Tables) -> None:
    failing = store.endpoint()
    store.endpoint()
    woken, stop = Woken(), asyncio.Event()
    loop = Notices(database, delivered=woken)
    task = asyncio.create_task(loop.run(stop))
    for _ in range(2):
        store.sql(
            "INSERT INTO webhook_notices (id, tenant, endpoint_id, type, data) "
            "VALUES (gen_random_uuid(), 'acme', :id, 'webhook.degraded', '{}')",
            id=failing.id,
        )
    loop.wake()
    async with asyncio.timeout(PATIENCE):
        while len(store.sql("SELECT 1 FROM webhook_deliveries")) < 2:
            await pause()
    stop.set()
    await task
    assert (woken.times >= 1, store.sql("SELECT 1 FROM webhook_notices")) == (True, [])
