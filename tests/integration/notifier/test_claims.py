"""Claims: caps, shares, turns, the rate per minute, leases."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from common.sql import Connection
from services.notifier.application import attempts
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.endpoints import Endpoint, SlotShare, share_of
from services.notifier.domain.events import FAILED
from services.notifier.domain.health import EndpointState
from services.notifier.store import claims, outcomes, readiness
from services.notifier.store.claims import DeliveryClaim
from tests.support.notifier.scripted_store import FAILURE, SUCCESS, Tables, job_event
from tests.support.patience import PATIENCE


def backlog(store: Tables, number: int, *, tenant: str = "acme", name: str = "job") -> None:
    """Events of several jobs of a tenant."""
    store.fan_out(*(job_event(f"{name}_{each}", tenant=tenant) for each in range(number)))


def test_an_endpoint_has_four_attempts_in_flight_and_a_slow_one_two(store: Tables) -> None:
    working, new = store.working(tenant="working"), store.endpoint(tenant="new")
    for tenant in ("working", "new"):
        backlog(store, 6, tenant=tenant)
    claimed = [claim.delivery.endpoint_id for claim in store.claim()]
    assert (claimed.count(working.id), claimed.count(new.id)) == (4, 2)
    assert store.claim() == []


def test_an_attempt_that_ends_makes_room_for_the_next(store: Tables) -> None:
    store.working()
    backlog(store, 6)
    first, *_ = store.claim()
    store.record(first)
    assert len(store.claim()) == 1


def test_endpoints_of_each_share_are_claimed_apart(store: Tables) -> None:
    working, new = store.working(tenant="working"), store.endpoint(tenant="new")
    for tenant in ("working", "new"):
        backlog(store, 1, tenant=tenant)
    assert [claim.delivery.endpoint_id for claim in store.claim(share=SlotShare.NEW)] == [new.id]
    assert [claim.delivery.endpoint_id for claim in store.claim(share=SlotShare.NORMAL)] == [working.id]


def test_an_endpoint_leaves_the_slow_share_with_its_first_success_and_returns_with_a_timeout(store: Tables) -> None:
    endpoint = store.endpoint()
    backlog(store, 9)
    [first, second] = store.claim(share=SlotShare.NEW)
    store.record(first)
    [third, *_] = store.claim(share=SlotShare.NORMAL)
    assert not store.look(endpoint).health.is_slow
    store.record(second)
    store.record(third, AttemptOutcome(duration_ms=20_000, error=AttemptError.TIMEOUT_HEADERS))
    assert share_of(store.look(endpoint).health) is SlotShare.SLOW
    assert store.claim(share=SlotShare.NORMAL) == []


def test_endpoints_take_turns_within_a_claim(store: Tables) -> None:
    for number in range(4):
        store.working(tenant=f"tenant-{number}")
        backlog(store, 10, tenant=f"tenant-{number}")
    assert sorted(claim.delivery.tenant for claim in store.claim(4, share=SlotShare.NORMAL)) == [
        f"tenant-{n}" for n in range(4)
    ]


def test_an_old_backlog_does_not_keep_other_endpoints_waiting(store: Tables) -> None:
    for number in range(3):
        store.working(tenant=f"old-{number}")
        backlog(store, 50, tenant=f"old-{number}")
    store.pass_time(hours=3)
    store.working(tenant="new")
    backlog(store, 20, tenant="new")
    served = []
    for _ in range(12):
        [claim] = store.claim(1, share=SlotShare.NORMAL)
        served.append(claim.delivery.tenant)
        store.record(claim)
    assert served.count("new") == 3


def test_the_attempts_of_a_minute_are_bounded(store: Tables) -> None:
    store.working()
    backlog(store, 9)
    first = store.claim(per_minute=3)
    for claim in first:
        store.record(claim)
    assert (len(first), store.claim(per_minute=3)) == (3, [])
    # No claim even looks at the endpoint before the minute has ended.
    assert store.sql("SELECT 1 FROM webhook_endpoints WHERE ready_at <= now()") == []
    store.pass_time(seconds=59)
    assert store.claim(per_minute=3) == []
    store.pass_time(seconds=1)
    assert len(store.claim(per_minute=3)) == 3


def test_a_bounded_endpoint_delays_no_other(store: Tables) -> None:
    store.working(tenant="bounded")
    store.working(tenant="free")
    backlog(store, 9, tenant="bounded")
    assert len(store.claim(per_minute=2)) == 2
    backlog(store, 3, tenant="free")
    assert {claim.delivery.tenant for claim in store.claim(per_minute=2)} == {"free"}


def test_two_processes_claim_nothing_twice(store: Tables) -> None:
    for number in range(20):
        store.working(tenant=f"tenant-{number}")
        backlog(store, 4, tenant=f"tenant-{number}")

    def work() -> list[DeliveryClaim]:
        mine = []
        while claimed := store.claim(3, share=SlotShare.NORMAL):
            mine += claimed
        return mine

    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(work) for _ in range(4)]
        claimed = [claim.delivery.id for each in found for claim in each.result(PATIENCE)]
    # A claim that finds an endpoint locked ends early; the next one of any process takes what is left.
    claimed += [claim.delivery.id for claim in work()]
    assert len(claimed) == len(set(claimed)) == 80


def test_a_claim_does_not_wait_for_a_locked_endpoint(store: Tables) -> None:
    locked, _ = store.working(tenant="locked"), store.working(tenant="free")
    for tenant in ("locked", "free"):
        backlog(store, 1, tenant=tenant)

    def hold(connection: Connection) -> list[DeliveryClaim]:
        readiness.lock(connection, [locked.id])
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(store.claim).result(PATIENCE)

    assert [claim.delivery.tenant for claim in store.run(hold)] == ["free"]
    assert [claim.delivery.tenant for claim in store.claim()] == ["locked"]


def test_released_deliveries_are_due_again_and_burn_nothing(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 3)
    claimed = store.claim(per_minute=3)
    store.run(partial(claims.release, deliveries=[claim.delivery for claim in claimed]))
    again = store.claim(per_minute=3)
    assert {claim.delivery.id for claim in again} == {claim.delivery.id for claim in claimed}
    assert all(claim.delivery.attempt_count == 0 for claim in again)
    assert store.look(endpoint).health.state is EndpointState.HEALTHY
    assert store.sql("SELECT 1 FROM webhook_attempts") == []


def test_a_released_delivery_is_superseded_or_held_as_if_it_had_never_been_claimed(store: Tables) -> None:
    superseding, disabled = store.working(tenant="superseding"), store.working(tenant="disabled")
    for tenant in ("superseding", "disabled"):
        store.fan_out(job_event(sequence=3, type_=FAILED, tenant=tenant))
    claimed = store.claim()
    store.fan_out(job_event(sequence=9, tenant="superseding"))
    store.change(disabled, enabled=False)
    store.run(partial(claims.release, deliveries=[claim.delivery for claim in claimed]))
    assert store.states(superseding) == {("job_1", 3): DeliveryState.SUPERSEDED, ("job_1", 9): DeliveryState.PENDING}
    assert store.states(disabled) == {("job_1", 3): DeliveryState.HELD}


def test_a_release_under_a_lost_lease_changes_nothing(store: Tables) -> None:
    store.working()
    backlog(store, 1)
    [lost] = store.claim()
    expire(store)
    store.pass_time(minutes=1)
    [current] = store.claim()
    store.run(partial(claims.release, deliveries=[lost.delivery]))
    assert store.record(current).state is DeliveryState.DELIVERED


def expire(store: Tables) -> int:
    """Let all leases end; returns the number of abandoned attempts."""
    store.pass_time(seconds=claims.LEASE_SECONDS)
    return int(store.run(partial(attempts.abandon_expired, limit=100)))


def test_a_lease_lasts_a_minute(store: Tables) -> None:
    store.working()
    backlog(store, 1)
    store.claim()
    store.pass_time(seconds=58)
    assert store.run(partial(attempts.abandon_expired, limit=100)) == 0
    store.pass_time(seconds=2)
    assert store.run(partial(attempts.abandon_expired, limit=100)) == 1


def test_an_abandoned_attempt_is_recorded_repeated_and_not_counted(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 1)
    [lost] = store.claim()
    assert expire(store) == 1
    assert store.claim() == []
    store.pass_time(seconds=40)
    [claim] = store.claim()
    assert (claim.delivery.id, claim.delivery.attempt_count) == (lost.delivery.id, 0)
    [attempt] = store.run(lambda c: outcomes.attempts(c, lost.delivery.id))
    assert (attempt.number, attempt.outcome.error) == (1, AttemptError.ABANDONED)
    assert store.look(endpoint).health.failing_since is None


def test_a_late_outcome_changes_nothing(store: Tables) -> None:
    endpoint = store.working()
    backlog(store, 1)
    [lost] = store.claim()
    expire(store)
    assert store.record(lost, SUCCESS).state is None
    store.pass_time(minutes=1)
    [current] = store.claim()
    assert store.record(lost, FAILURE).state is None
    assert store.look(endpoint).health.state is EndpointState.HEALTHY
    assert store.record(current, SUCCESS).state is DeliveryState.DELIVERED
    assert store.record(current, FAILURE).state is None
    assert len(store.run(lambda c: outcomes.attempts(c, lost.delivery.id))) == 2


@pytest.mark.parametrize("is_deleted", [True, False])
def test_an_outcome_of_what_was_deleted_meanwhile_is_dropped(store: Tables, is_deleted: bool) -> None:
    endpoint: Endpoint = store.working()
    backlog(store, 1)
    [claim] = store.claim()
    store.sql(
        "UPDATE webhook_endpoints SET deleted_at = now(), ready_at = NULL WHERE id = :id"
        if is_deleted
        else "DELETE FROM webhook_endpoints WHERE id = :id",
        id=endpoint.id,
    )
    assert store.record(claim).state is None


@pytest.mark.parametrize("outcome", [None, SUCCESS, FAILURE])
def test_the_database_and_the_domain_know_the_same_share(store: Tables, outcome: AttemptOutcome | None) -> None:
    endpoint = store.endpoint()
    backlog(store, 1)
    [claim] = store.claim()
    if outcome is not None:
        store.record(claim, outcome)
    [row] = store.sql("SELECT share FROM webhook_endpoints")
    assert row.share == share_of(store.look(endpoint).health)
