"""The dispatcher: what is sent, by whom, how much at a time, and what a crash or an outage leaves."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from common.postgres import Database, DatabaseUnavailable
from services.notifier.application import attempts
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.events import CANCELED, FAILED, SETTLED
from services.notifier.domain.health import EndpointState
from services.notifier.loops import dispatcher as dispatching
from services.notifier.loops import sending
from services.notifier.loops.dispatcher import Dispatcher
from services.notifier.loops.housekeeping import Housekeeping
from services.notifier.ports import EventKey, JobPayload
from services.notifier.store import claims, outcomes, readiness
from tests.support.notifier.scripted_store import (
    FAILURE,
    SUCCESS,
    ScriptedJobService,
    ScriptedSender,
    Sent,
    Tables,
    job_event,
    key_of,
)
from tests.support.patience import PATIENCE, pause
from tests.support.servers.hostile_receivers import LoopClock

DELIVERED, PENDING, SENDING = DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.SENDING


def dispatcher_of(
    database: Database,
    job_service: ScriptedJobService,
    sender: ScriptedSender,
    *,
    slots: int = 16,
    per_minute: int = 6_000,
) -> Dispatcher:
    """A process's dispatcher."""
    return Dispatcher(database, job_service, sender, slots=slots, per_minute=per_minute, noticed=lambda: None)


@pytest.fixture
def dispatcher(
    database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> Dispatcher:
    """A dispatcher that claims when the test lets it."""
    return dispatcher_of(database, job_service, sender)


async def deliver(dispatcher: Dispatcher) -> None:
    """Attempt all that is due."""
    while (await dispatcher.run_once())["claimed"]:
        await dispatcher.settle()


@asynccontextmanager
async def working(dispatcher: Dispatcher, *, grace: float = PATIENCE) -> AsyncIterator[asyncio.Event]:
    """A dispatcher that works until the end of the block, or until the event is set."""
    stop = asyncio.Event()
    task = asyncio.create_task(dispatcher.work(stop, grace_seconds=grace))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def until(store: Tables, state: DeliveryState, number: int) -> None:
    """Wait until as many deliveries have a state."""
    async with asyncio.timeout(PATIENCE):
        while store.sql("SELECT count(*) FROM webhook_deliveries WHERE state = :state", state=state) != [(number,)]:
            await pause()


async def test_a_delivery_is_sent_with_the_job_and_its_secret(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    endpoint = store.working(url="https://one.example/hook")
    store.fan_out(event := job_event(sequence=7, type_=FAILED))
    await deliver(dispatcher)
    [sent] = sender.sent
    assert (sent.url, sent.event_type, sent.keys) == ("https://one.example/hook", FAILED, [key_of()])
    assert sent.delivery_id == store.delivery_id(sequence=7)
    body = json.loads(sent.body)
    assert body == {
        "type": FAILED,
        "timestamp": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "data": {"id": "job_1"},
    }
    assert store.states() == {("job_1", 7): DELIVERED}
    assert not store.look(endpoint).health.is_slow
    assert dispatcher.counters == {"attempts": 1, "delivered": 1}


async def test_jobs_of_a_claim_are_fetched_in_one_call(
    dispatcher: Dispatcher, job_service: ScriptedJobService, store: Tables
) -> None:
    for number in range(5):
        store.working(url=f"https://{number}.example/")
    store.fan_out(job_event("job_1"), job_event("job_2"))
    await deliver(dispatcher)
    assert job_service.requested == [{("job_1", 1), ("job_2", 1)}]


async def test_each_event_of_a_job_is_sent_after_the_one_before(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    for job in ("job_1", "job_2"):
        store.fan_out(job_event(job, 3, CANCELED), job_event(job, 4, SETTLED))
    await deliver(dispatcher)
    assert [sent.event_type for sent in sender.sent] == [CANCELED, CANCELED, SETTLED, SETTLED]


async def test_a_working_dispatcher_needs_only_to_be_woken(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "POLL_SECONDS", PATIENCE)
    store.working()
    async with working(dispatcher):
        store.fan_out(*(job_event(f"job_{number}") for number in range(30)))
        dispatcher.wake()
        # The end of each attempt leads to the next.
        await until(store, DELIVERED, 30)
    assert len(sender.sent) == 30


async def test_an_endpoint_has_at_most_four_requests_at_a_time_in_all_processes(
    dispatcher: Dispatcher, database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(40)))
    other = dispatcher_of(database, job_service, sender)
    async with working(dispatcher), working(other):
        await until(store, DELIVERED, 40)
    assert sender.most["https://example.com/"] <= 4
    assert len({sent.delivery_id for sent in sender.sent}) == len(sender.sent) == 40


async def test_hanging_receivers_take_an_eighth_of_the_slots(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    held = asyncio.Event()
    for number in range(8):
        store.endpoint(tenant="hanging", url=f"https://hanging-{number}.example/")
        store.sql("UPDATE webhook_endpoints SET window_started_at = now() WHERE tenant = 'hanging'")
        sender.held[f"https://hanging-{number}.example/"] = held
        store.working(tenant="healthy", url=f"https://healthy-{number}.example/")
    store.fan_out(
        *(job_event(f"job_{number}", tenant=tenant) for number in range(5) for tenant in ("hanging", "healthy"))
    )
    async with working(dispatcher):
        await until(store, DELIVERED, 40)
        async with asyncio.timeout(PATIENCE):
            while dispatcher.busy != 2:
                await pause()
        assert sum(sent.url.startswith("https://hanging") for sent in sender.sent) == 2
        held.set()
        await until(store, DELIVERED, 80)


async def test_many_hanging_receivers_of_one_tenant_do_not_keep_the_new_ones_of_others_waiting(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "OVERRUN_SECONDS", 0.01)
    urls = [f"https://hanging-{number}.example/" for number in range(30)]
    held = [asyncio.Event() for _ in urls]
    sender.held = dict(zip(urls, held, strict=True))
    store.fan_out(*(job_event(f"job_{n}", tenant="hanging", callback_url=url) for n, url in enumerate(urls)))
    store.pass_time(hours=1)
    async with working(dispatcher):
        # Two have slots, and eight have overrun.
        for _ in range(10):
            first = await asyncio.wait_for(sender.begun.get(), PATIENCE)
        store.endpoint(tenant="new", url="https://new.example/")
        store.fan_out(job_event("new", tenant="new"))
        sender.held[first.url].set()
        following = await asyncio.wait_for(sender.begun.get(), PATIENCE)
        assert following.url == "https://new.example/"
        for each in held:
            each.set()
        await until(store, DELIVERED, 31)


async def test_receivers_that_begin_to_hang_free_their_slots_before_they_time_out(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "OVERRUN_SECONDS", 0.01)
    monkeypatch.setattr(sending, "SLOW_MS", 20)
    held = asyncio.Event()
    for number in range(3):
        store.working(tenant="hanging", url=f"https://hanging-{number}.example/")
        sender.held[f"https://hanging-{number}.example/"] = held
    store.fan_out(*(job_event(f"job_{number}", tenant="hanging") for number in range(4)))
    async with working(dispatcher):
        async with asyncio.timeout(PATIENCE):
            while dispatcher.busy < 12:
                await pause()
        store.working(tenant="healthy", url="https://healthy.example/")
        store.fan_out(job_event("healthy", tenant="healthy"))
        dispatcher.wake()
        async with asyncio.timeout(PATIENCE):
            while store.states()["healthy", 1] is not DELIVERED:
                await pause()
        hanging = {f"https://hanging-{number}.example/" for number in range(3)}
        async with asyncio.timeout(PATIENCE):
            while not hanging <= {row.url for row in store.sql("SELECT url FROM webhook_endpoints WHERE is_slow")}:
                await pause()
        held.set()


async def test_the_rate_of_a_minute_holds_in_all_processes_together(
    database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(12)))
    both = [dispatcher_of(database, job_service, sender, per_minute=5) for _ in range(2)]
    for _ in range(4):
        for each in both:
            await deliver(each)
    assert len(sender.sent) == 5
    store.pass_time(minutes=1)
    for each in both:
        await deliver(each)
    assert len(sender.sent) == 10


async def test_without_job_service_nothing_is_sent_and_nothing_is_lost(
    dispatcher: Dispatcher, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    endpoint = store.working()
    store.fan_out(job_event("job_1"), job_event("job_2"))
    job_service.is_away = True
    async with working(dispatcher):
        async with asyncio.timeout(PATIENCE):
            while len(store.sql("SELECT 1 FROM webhook_endpoints WHERE served_at IS NOT NULL")) == 0:
                await pause()
        await until(store, PENDING, 2)
        job_service.is_away = False
        await until(store, DELIVERED, 2)
    assert (len(sender.sent), store.look(endpoint).health.state) == (2, EndpointState.HEALTHY)
    assert [row.attempts_made for row in store.sql("SELECT attempts_made FROM webhook_deliveries")] == [1, 1]


async def test_without_job_service_claims_pause(
    dispatcher: Dispatcher, job_service: ScriptedJobService, store: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "AWAY_SECONDS", PATIENCE)
    store.working()
    store.fan_out(job_event())
    job_service.is_away = True
    assert await dispatcher.run_once() == {"claimed": 1}
    await dispatcher.settle()
    assert await dispatcher.run_once() == {"claimed": 0}


async def test_notices_are_sent_without_job_service(
    dispatcher: Dispatcher, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.sql(
        "INSERT INTO webhook_deliveries (id, endpoint_id, tenant, event_type, occurred_at, data, state, due_at) "
        "SELECT gen_random_uuid(), id, tenant, 'webhook.disabled', now(), '{\"a\": 1}', 'pending', now() "
        "FROM webhook_endpoints"
    )
    store.run(lambda c: readiness.refresh(c, [row.id for row in store.sql("SELECT id FROM webhook_endpoints")]))
    store.fan_out(job_event())
    job_service.is_away = True
    await dispatcher.run_once()
    await dispatcher.settle()
    [sent] = sender.sent
    assert json.loads(sent.body)["data"] == {"a": 1}
    assert store.states()["job_1", 1] is PENDING


async def test_a_job_that_job_service_does_not_know_fails_and_its_next_event_follows(
    dispatcher: Dispatcher, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(job_event(sequence=3, type_=CANCELED), job_event(sequence=4, type_=SETTLED))
    job_service.missing = {("job_1", 3)}
    await deliver(dispatcher)
    assert store.states() == {("job_1", 3): DeliveryState.FAILED, ("job_1", 4): DELIVERED}
    assert [sent.event_type for sent in sender.sent] == [SETTLED]


async def test_a_job_that_cannot_be_read_holds_up_no_others(
    dispatcher: Dispatcher, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(4)))
    job_service.broken = {("job_2", 1)}
    await deliver(dispatcher)
    assert (len(sender.sent), dispatcher.busy) == (3, 0)
    assert store.states().pop(("job_2", 1)) is DeliveryState.FAILED


async def test_failures_open_the_breaker_and_a_probe_closes_it(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    endpoint = store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(9)))
    sender.outcomes[endpoint.url] = deque([FAILURE] * 8)
    await deliver(dispatcher)
    # Five failures open it; up to eight attempts were under way by then.
    assert store.look(endpoint).health.state is EndpointState.DEGRADED
    assert 5 <= len(sender.sent) <= 8
    sender.outcomes[endpoint.url].clear()
    for _ in range(3):
        store.pass_time(minutes=10)
        await deliver(dispatcher)
    assert set(store.states().values()) == {DELIVERED}


async def crash(dispatcher: Dispatcher, sender: ScriptedSender, requests: int) -> None:
    """End a process at once while its requests are under way."""
    stop = asyncio.Event()
    task = asyncio.create_task(dispatcher.work(stop, grace_seconds=0.0))
    for _ in range(requests):
        await asyncio.wait_for(sender.begun.get(), PATIENCE)
    stop.set()
    await task


async def test_what_a_dead_process_had_claimed_is_sent_by_another_when_the_leases_have_ended(
    database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(3)))
    lost = store.claim(3)
    housekeeping, living = Housekeeping(database, delivered=lambda: None), dispatcher_of(database, job_service, sender)
    await deliver(living)
    assert sender.sent == []
    store.pass_time(seconds=claims.LEASE_SECONDS)
    assert (await housekeeping.run_once())["leases"] == 3
    store.pass_time(minutes=1)
    await deliver(living)
    assert {sent.delivery_id for sent in sender.sent} == {claim.delivery.id for claim in lost}
    assert store.run(partial(attempts.record, delivery=lost[0].delivery, outcome=FAILURE)).state is None
    assert set(store.states().values()) == {DELIVERED}


class FreezingJobs(ScriptedJobService):
    """Returns jobs; the process stands still meanwhile, for as many seconds as a list says, each time."""

    def __init__(self, seconds: list[float]) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = LoopClock()

    async def jobs(self, keys: Collection[EventKey]) -> Mapping[EventKey, JobPayload]:
        """Return a job for each key."""
        self._clock.pass_by(self._seconds.pop(0))
        return await super().jobs(keys)


async def test_a_process_that_stood_still_after_a_claim_sends_nothing_of_it(
    database: Database, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(job_event("job_1"), job_event("job_2"))
    frozen = dispatcher_of(database, FreezingJobs([dispatching.BEGIN_SECONDS + 1, 0.0]), sender)
    assert await frozen._claim() == 2
    await frozen.settle()
    assert (sender.sent, frozen.busy, set(store.states().values())) == ([], 0, {PENDING})
    await deliver(frozen)
    assert (len(sender.sent), set(store.states().values())) == (2, {DELIVERED})


async def test_what_a_process_sent_before_it_died_is_sent_again_under_the_same_id(
    database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(3)))
    sender.held["https://example.com/"] = asyncio.Event()
    await crash(dispatcher_of(database, job_service, sender), sender, 3)
    sender.held.clear()
    store.pass_time(seconds=claims.LEASE_SECONDS)
    await Housekeeping(database, delivered=lambda: None).run_once()
    store.pass_time(minutes=1)
    await deliver(dispatcher_of(database, job_service, sender))
    assert set(Counter(sent.delivery_id for sent in sender.sent).values()) == {2}
    assert set(store.states().values()) == {DELIVERED}


async def test_a_random_course_of_crashes_delivers_everything(
    database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables
) -> None:
    for number in range(3):
        store.working(url=f"https://{number}.example/")
    housekeeping = Housekeeping(database, delivered=lambda: None)
    for step in range(6):
        store.fan_out(*(job_event(f"job_{number}", step + 1, CANCELED) for number in range(4)))
        sender.held[f"https://{step % 3}.example/"] = asyncio.Event()
        await crash(dispatcher_of(database, job_service, sender), sender, step % 3 + 1)
        sender.held.clear()
        store.pass_time(seconds=claims.LEASE_SECONDS)
        await housekeeping.run_once()
        store.pass_time(minutes=1)
    await deliver(dispatcher_of(database, job_service, sender))
    last = store.sql("SELECT state FROM webhook_deliveries WHERE sequence = 6")
    assert [row.state for row in last] == ["delivered"] * 12
    assert store.sql("SELECT 1 FROM webhook_deliveries WHERE state NOT IN ('delivered', 'superseded')") == []


async def test_a_stop_lets_requests_end_and_begins_none(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(9)))
    sender.held["https://example.com/"] = asyncio.Event()
    async with working(dispatcher) as stop:
        for _ in range(4):
            await asyncio.wait_for(sender.begun.get(), PATIENCE)
        stop.set()
        await asyncio.sleep(0)
        sender.held["https://example.com/"].set()
    states = Counter(store.states().values())
    assert (states[DELIVERED], states[PENDING], len(sender.sent)) == (4, 5, 4)


async def test_a_stop_does_not_wait_for_ever(dispatcher: Dispatcher, sender: ScriptedSender, store: Tables) -> None:
    store.working()
    store.fan_out(job_event())
    sender.held["https://example.com/"] = asyncio.Event()
    async with working(dispatcher, grace=0.0):
        await asyncio.wait_for(sender.begun.get(), PATIENCE)
    assert (dispatcher.busy, store.states()) == (0, {("job_1", 1): SENDING})


async def test_a_draining_dispatcher_claims_nothing(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(job_event())
    dispatcher.draining = True
    await deliver(dispatcher)
    assert sender.sent == []
    dispatcher.draining = False
    await deliver(dispatcher)
    assert len(sender.sent) == 1


async def test_a_fault_of_the_sender_is_not_the_receivers(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    endpoint = store.working()
    store.fan_out(job_event())

    def break_(sent: Sent) -> None:
        raise RuntimeError("broken")

    sender.meanwhile = break_
    await deliver(dispatcher)
    [attempt] = store.run(lambda c: outcomes.attempts(c, store.delivery_id()))
    assert (attempt.outcome.error, store.look(endpoint).health.state) == (AttemptError.ABANDONED, EndpointState.HEALTHY)
    assert "broken" not in attempt.outcome.message


class FailingDatabase(Database):
    """A database whose answers are lost, as often as a test says, after or before the transaction."""

    lost: Sequence[bool] = ()

    async def run(self, work, *, pool=None, attempts=3):  # type: ignore[no-untyped-def]
        """Run it; perhaps without telling."""
        if getattr(work, "func", None) is not None and work.func.__name__ == "record" and self.lost:
            is_done, *self.lost = self.lost
            if is_done:
                await super().run(work, pool=pool, attempts=attempts)
            raise DatabaseUnavailable("gone")
        return await super().run(work, pool=pool, attempts=attempts)


@pytest.mark.parametrize("lost", [[False, False], [True], [True, False]])
async def test_an_outcome_is_recorded_once_the_database_is_back(
    database_url: str, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables, lost: list[bool]
) -> None:
    store.working()
    store.fan_out(job_event())
    database = FailingDatabase(database_url, application="test")
    database.lost = lost
    await deliver(dispatcher_of(database, job_service, sender))
    await database.close()
    assert (store.states(), len(sender.sent)) == ({("job_1", 1): DELIVERED}, 1)
    assert [row.attempts_made for row in store.sql("SELECT attempts_made FROM webhook_deliveries")] == [1]


async def test_broken_connections_to_the_database_lose_nothing(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    store.working()
    store.fan_out(*(job_event(f"job_{number}") for number in range(40)))
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
    async with working(dispatcher):
        for number in range(1, 6):
            while len(sender.sent) < 6 * number:
                await asyncio.wait_for(sender.begun.get(), PATIENCE)
            store.sql(end_all)
        await until(store, DELIVERED, 40)
    assert len({sent.delivery_id for sent in sender.sent}) == 40


async def test_twenty_percent_of_hanging_receivers_cost_the_others_nothing(
    dispatcher: Dispatcher, sender: ScriptedSender, store: Tables
) -> None:
    for number in range(20):
        tenant = "hanging" if number % 5 == 0 else "healthy"
        store.working(tenant=tenant, url=f"https://{tenant}-{number}.example/")
        if tenant == "hanging":
            sender.outcomes[f"https://{tenant}-{number}.example/"] = deque(
                [AttemptOutcome(duration_ms=20_000, error=AttemptError.TIMEOUT_HEADERS)] * 99
            )
    store.fan_out(
        *(job_event(f"job_{number}", tenant=tenant) for number in range(6) for tenant in ("hanging", "healthy"))
    )
    await deliver(dispatcher)
    healthy = [sent for sent in sender.sent if sent.url.startswith("https://healthy")]
    hanging = Counter(sent.url for sent in sender.sent if sent.url.startswith("https://hanging"))
    assert len(healthy) == 16 * 6
    assert all(attempts <= 8 for attempts in hanging.values())
    assert SUCCESS.is_success
