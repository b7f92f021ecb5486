"""What outcomes make of deliveries, endpoints and notices, as the database has it afterwards."""

import json
from dataclasses import replace
from functools import partial

import pytest

from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.events import DEGRADED, DISABLED, RECOVERED
from services.notifier.domain.health import DisabledReason, EndpointState
from services.notifier.store import holding, notices, outcomes
from tests.support.notifier.scripted_store import FAILURE, GONE, SUCCESS, Tables, job_event

HELD, PENDING = DeliveryState.HELD, DeliveryState.PENDING


def backlog(store: Tables, number: int) -> None:
    """Events of several jobs."""
    store.fan_out(*(job_event(f"job_{each}") for each in range(number)))


def fail(store: Tables, times: int) -> None:
    """Fail attempts, however long that takes."""
    for _ in range(times):
        [claim, *_] = store.claim(1) or [None]
        while claim is None:
            store.pass_time(minutes=6)
            [claim, *_] = store.claim(1) or [None]
        store.record(claim, FAILURE)


def due_notices(store: Tables) -> list[tuple[str, object]]:
    """Types and data of notices."""
    return [(row.type, row.data) for row in store.sql("SELECT type, data FROM webhook_notices ORDER BY id")]


def test_each_attempt_is_recorded(store: Tables) -> None:
    store.working()
    backlog(store, 1)
    outcome = replace(FAILURE, duration_ms=1_234, response="<h1>no</h1>", retry_after=7.0)
    [claim] = store.claim()
    store.record(claim, outcome)
    store.pass_time(minutes=1)
    [claim] = store.claim()
    store.record(claim)
    first, second = store.run(lambda c: outcomes.attempts(c, claim.delivery.id))
    assert (first.number, first.outcome, first.is_probe) == (1, replace(outcome, retry_after=None), False)
    assert (second.number, second.outcome) == (2, SUCCESS)
    shown = store.shown(claim.delivery.id)
    assert (shown.state, shown.attempt_count, shown.last_attempt) == (DeliveryState.DELIVERED, 2, second)
    assert shown.delivered_at is not None


def test_the_last_fifty_attempts_are_kept(store: Tables) -> None:
    store.working()
    backlog(store, 1)
    proxy = AttemptOutcome(duration_ms=1, error=AttemptError.PROXY)
    for _ in range(53):
        [claim] = store.claim()
        store.record(claim, proxy)
        store.pass_time(minutes=1)
    kept = store.run(lambda c: outcomes.attempts(c, claim.delivery.id))
    assert [attempt.number for attempt in kept] == list(range(4, 54))
    assert store.shown(claim.delivery.id).attempt_count == 0


def test_whatever_a_receiver_returns_can_be_recorded(store: Tables) -> None:
    store.working()
    backlog(store, 1)
    [claim] = store.claim()
    odd = "\x00" + "\ud800" + "\N{GRINNING FACE}" * 2_000
    store.record(claim, replace(FAILURE, message=odd, response=odd))
    [attempt] = store.run(lambda c: outcomes.attempts(c, claim.delivery.id))
    assert (len(attempt.outcome.message), len(attempt.outcome.response)) == (500, 1_024)


def test_an_open_breaker_parks_deliveries_and_burns_no_attempts(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 8)
    claimed = store.claim()
    for claim in claimed:
        store.record(claim, FAILURE)
    [fifth, *_] = store.claim(1)
    store.record(fifth, FAILURE)
    assert store.look(endpoint).health.state is EndpointState.DEGRADED
    assert store.claim() == []
    counts = "SELECT array_agg(attempt_count ORDER BY attempt_count DESC) AS counts FROM webhook_deliveries"
    [before] = store.sql(counts)

    for pause in (30, 60, 120):
        store.pass_time(seconds=pause - 1)
        assert store.claim() == []
        store.pass_time(seconds=1)
        [probe] = store.claim()
        assert probe.delivery.is_probe
        store.record(probe, FAILURE)
    assert store.sql(counts) == [before]

    store.pass_time(seconds=240)
    [probe] = store.claim()
    store.record(probe, SUCCESS)
    assert store.look(endpoint).health.state is EndpointState.HEALTHY
    assert len(store.claim()) == 4


def test_a_breaker_parks_the_origin_of_callback_urls(store: Tables) -> None:
    store.fan_out(*(job_event(f"job_{each}", callback_url=f"https://one.example/{each}") for each in range(6)))
    fail(store, 5)
    assert store.claim() == []
    assert due_notices(store) == []


def test_retry_after_of_an_overloaded_receiver_parks_all_deliveries(store: Tables) -> None:
    store.working()
    backlog(store, 5)
    [claim, *_] = store.claim(1)
    store.record(claim, AttemptOutcome(duration_ms=1, status=503, error=AttemptError.STATUS, retry_after=600.0))
    assert store.claim() == []
    store.pass_time(seconds=600)
    assert len(store.claim()) == 4


def test_410_disables_and_holds(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 3)
    [first, second, *_] = store.claim(2)
    assert store.record(first, GONE).state is HELD
    assert store.look(endpoint).health.disabled_reason is DisabledReason.GONE
    assert store.claim() == []
    assert store.record(second, FAILURE).state is HELD
    assert store.shown(store.delivery_id("job_2")).state is HELD
    store.run(partial(holding.hold, limit=500))
    assert set(store.states().values()) == {HELD}


def test_a_success_after_the_endpoint_was_disabled_counts(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 1)
    [claim] = store.claim()
    store.change(endpoint, enabled=False)
    assert store.record(claim, SUCCESS).state is DeliveryState.DELIVERED


def test_days_of_failure_disable_and_enabling_sends_nothing_of_what_is_held(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 2)
    fail(store, 2)
    store.pass_time(days=5)
    fail(store, 1)
    assert store.look(endpoint).health.disabled_reason is DisabledReason.FAILING
    while store.run(partial(holding.hold, limit=500)) is not None:
        pass
    store.change(endpoint, enabled=True)
    assert store.look(endpoint).health.state is EndpointState.HEALTHY
    assert (set(store.states().values()), store.claim()) == ({HELD}, [])


def test_ten_failures_end_a_delivery(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 1)
    for _ in range(10):
        # Successes of others keep the breaker closed.
        store.sql("UPDATE webhook_endpoints SET points = 0, window_started_at = NULL WHERE id = :id", id=endpoint.id)
        store.pass_time(hours=30)
        store.sql("UPDATE webhook_endpoints SET failing_since = now() WHERE id = :id", id=endpoint.id)
        [claim] = store.claim()
        store.record(claim, FAILURE)
    assert store.states() == {("job_0", 1): DeliveryState.FAILED}
    store.pass_time(days=2)
    assert store.claim() == []


def test_a_failing_period_gives_one_notice_of_each_kind(store: Tables) -> None:
    failing = store.working(url="https://failing.example/")
    store.change(failing, description="the first")
    other, picky, disabled = store.working(), store.working(types=["job.failed"]), store.working()
    store.change(disabled, enabled=False)
    store.working(tenant="stranger")
    backlog(store, 6)
    for wanted, outcome in {DEGRADED: FAILURE, RECOVERED: SUCCESS}.items():
        while not due_notices(store):
            store.pass_time(minutes=6)
            for claim in store.claim():
                store.record(claim, outcome if claim.delivery.endpoint_id == failing.id else SUCCESS)
        [(type_, data)] = due_notices(store)
        assert type_ == wanted
        assert isinstance(data, dict)
        assert data["webhook"] == {
            "id": f"wh_{failing.id.hex}", "url": "https://failing.example/", "description": "the first",
        }  # fmt: skip
        assert data["health"]["state"] == ("degraded" if wanted == DEGRADED else "healthy")
        assert store.run(partial(notices.fan_out, limit=100)) == (1, 1)
        [claim] = [claim for claim in store.claim() if claim.delivery.event_type == wanted]
        assert (claim.delivery.endpoint_id, json.loads(claim.delivery.data or "")) == (other.id, data)
        store.record(claim)
    assert store.states(picky) == {}


def test_disabling_gives_a_notice(store: Tables) -> None:
    store.working()
    backlog(store, 1)
    [claim] = store.claim()
    store.record(claim, GONE)
    [(type_, data)] = due_notices(store)
    assert type_ == DISABLED
    assert isinstance(data, dict)
    assert (data["health"]["disabled_reason"], data["health"]["last_status"]) == ("gone", 410)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_tenant_that_changes_its_endpoint_gets_no_notice(store: Tables, is_enabled: bool) -> None:
    endpoint = store.working()
    store.change(endpoint, enabled=False)
    store.change(endpoint, enabled=is_enabled)
    assert due_notices(store) == []
