"""Deliveries of one job to one endpoint: their order, and which ones later ones supersede."""

import itertools
import random
from uuid import UUID

import pytest

from common.sql import Connection
from services.notifier.application.attempts import abandon_expired
from services.notifier.domain.attempts import AttemptOutcome
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.events import CANCELED, COMPLETED, FAILED, JOB_EVENTS, SETTLED
from services.notifier.store import readiness, redeliveries
from services.notifier.store.claims import DeliveryClaim
from tests.support.notifier.scripted_store import FAILURE, GONE, SUCCESS, Tables, job_event

PENDING, WAITING, SENDING = DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.SENDING
DELIVERED, SUPERSEDED, HELD = DeliveryState.DELIVERED, DeliveryState.SUPERSEDED, DeliveryState.HELD


def test_the_later_event_of_a_job_waits_for_the_earlier_one(store: Tables) -> None:
    store.endpoint()
    store.fan_out(job_event(sequence=3, type_=CANCELED), job_event(sequence=4, type_=SETTLED))
    assert store.states() == {("job_1", 3): PENDING, ("job_1", 4): WAITING}

    [first] = store.claim()
    assert (first.delivery.sequence, store.claim()) == (3, [])
    store.record(first, FAILURE)
    assert (store.states()["job_1", 4], store.claim()) == (WAITING, [])

    store.pass_time(minutes=1)
    assert store.deliver() == [("job_1", 3), ("job_1", 4)]


def test_jobs_do_not_wait_for_each_other(store: Tables) -> None:
    store.endpoint()
    store.fan_out(job_event("job_1"), job_event("job_2"))
    [first, second] = store.claim()
    store.record(first, FAILURE)
    store.record(second, SUCCESS)
    assert set(store.states().values()) == {PENDING, DELIVERED}


@pytest.mark.parametrize("later", [COMPLETED, FAILED, CANCELED])
def test_a_later_end_supersedes_pending_and_waiting_events(store: Tables, later: str) -> None:
    store.endpoint()
    store.fan_out(job_event(sequence=3, type_=CANCELED), job_event(sequence=4, type_=SETTLED))
    store.fan_out(job_event(sequence=9, type_=later))
    assert store.states() == {("job_1", 3): SUPERSEDED, ("job_1", 4): SUPERSEDED, ("job_1", 9): PENDING}
    assert store.deliver() == [("job_1", 9)]


def test_a_later_end_supersedes_held_events(store: Tables) -> None:
    endpoint = store.endpoint()
    store.change(endpoint, enabled=False)
    store.fan_out(job_event(sequence=3, type_=FAILED))
    assert store.states() == {("job_1", 3): HELD}
    store.change(endpoint, enabled=True)
    store.fan_out(job_event(sequence=9))
    assert store.states() == {("job_1", 3): SUPERSEDED, ("job_1", 9): PENDING}


def test_an_event_that_is_being_sent_is_superseded_only_if_it_fails(store: Tables) -> None:
    store.endpoint()
    store.fan_out(job_event("job_1", 3, FAILED), job_event("job_2", 3, FAILED))
    [one, other] = sorted(store.claim(), key=lambda claim: str(claim.delivery.job_id))
    store.fan_out(job_event("job_1", 9), job_event("job_2", 9))
    assert store.states()["job_1", 9] is WAITING

    assert store.record(one, FAILURE).state is SUPERSEDED
    assert store.record(other, SUCCESS).state is DELIVERED
    assert store.states() == {
        ("job_1", 3): SUPERSEDED, ("job_1", 9): PENDING, ("job_2", 3): DELIVERED, ("job_2", 9): PENDING,
    }  # fmt: skip


def test_an_end_in_the_same_page_supersedes(store: Tables) -> None:
    store.endpoint()
    store.fan_out(job_event(sequence=3, type_=FAILED), job_event(sequence=9))
    assert store.states() == {("job_1", 3): SUPERSEDED, ("job_1", 9): PENDING}


def test_a_settlement_supersedes_an_earlier_settlement_alone(store: Tables) -> None:
    store.endpoint()
    store.fan_out(*(job_event(sequence=number, type_=type_) for number, type_ in [(3, CANCELED), (4, SETTLED)]))
    store.fan_out(job_event(sequence=5, type_=SETTLED))
    assert store.states() == {("job_1", 3): PENDING, ("job_1", 4): SUPERSEDED, ("job_1", 5): WAITING}


def test_an_event_that_the_feed_brings_late_is_superseded_even_by_a_delivered_one(store: Tables) -> None:
    store.endpoint()
    store.fan_out(job_event(sequence=9))
    store.deliver()
    store.fan_out(job_event(sequence=3, type_=FAILED))
    assert store.states() == {("job_1", 3): SUPERSEDED, ("job_1", 9): DELIVERED}


def test_events_supersede_only_at_the_endpoints_that_get_both(store: Tables) -> None:
    failures, everything = store.endpoint(types=[FAILED]), store.endpoint()
    store.fan_out(job_event(sequence=3, type_=FAILED), job_event(sequence=9))
    assert store.states(failures) == {("job_1", 3): PENDING}
    assert store.states(everything) == {("job_1", 3): SUPERSEDED, ("job_1", 9): PENDING}


def test_a_page_that_is_read_again_changes_nothing(store: Tables) -> None:
    store.endpoint()
    events = [job_event(sequence=3, type_=FAILED), job_event(sequence=9, callback_url="https://callback.example/x")]
    assert store.fan_out(*events) == 3
    store.deliver()
    before = store.states()
    assert store.fan_out(*events) == 0
    assert (store.states(), store.claim()) == (before, [])


def test_an_earlier_event_that_is_redelivered_goes_before_a_later_one_that_is_due(store: Tables) -> None:
    endpoint = store.endpoint()
    store.change(endpoint, enabled=False)
    store.fan_out(job_event(sequence=3, type_=CANCELED))
    store.change(endpoint, enabled=True)
    store.fan_out(job_event(sequence=4, type_=SETTLED))
    held = store.delivery_id(sequence=3)

    def redeliver(connection: Connection) -> int:
        readiness.lock(connection, [endpoint.id])
        return redeliveries.redeliver(connection, [held])

    assert store.run(redeliver) == 1
    assert store.states() == {("job_1", 3): PENDING, ("job_1", 4): WAITING}
    assert store.deliver() == [("job_1", 3), ("job_1", 4)]


def test_410_of_a_callback_url_ends_that_delivery_and_the_next_follows(store: Tables) -> None:
    url = "https://callback.example/x"
    store.fan_out(
        job_event(sequence=3, type_=CANCELED, callback_url=url), job_event(sequence=4, type_=SETTLED, callback_url=url)
    )
    [claim] = store.claim()
    assert store.record(claim, GONE).state is DeliveryState.FAILED
    assert store.deliver() == [("job_1", 4)]


@pytest.mark.parametrize("seed", range(3))
def test_in_any_course_of_events_each_receiver_sees_every_last_end_and_all_in_order(store: Tables, seed: int) -> None:
    course = Course(store, random.Random(seed))
    endpoints = [store.endpoint(url=f"https://{number}.example/") for number in range(2)]
    for _ in range(80):
        course.step()
        store.check()
    for _ in range(30):
        course.lose_claims(share=1.0)
        course.claim(100)
        while course.claimed:
            course.record(SUCCESS)
    assert set(store.states().values()) <= {DELIVERED, SUPERSEDED}
    for endpoint, (job, last) in itertools.product(endpoints, course.last_ends.items()):
        sent = course.sent[endpoint.id, job]
        assert sent == sorted(sent)
        assert store.states(endpoint)[job, last] is DELIVERED


class Course:
    """A random course of events, attempts and crashes."""

    def __init__(self, store: Tables, draw: random.Random) -> None:
        self._store, self._draw = store, draw
        self._sequences = {f"job_{number}": 0 for number in range(3)}
        self.last_ends: dict[str, int] = {}
        self.claimed: list[DeliveryClaim] = []
        #: By endpoint and job, the events that the receiver got, whatever it returned.
        self.sent: dict[tuple[UUID, str], list[int]] = {}

    def step(self) -> None:
        """Do one thing."""
        chance = self._draw.random()
        if chance < 0.35:
            self._event()
        elif chance < 0.6:
            self.claim(self._draw.randint(1, 3))
        elif chance < 0.65:
            self.lose_claims(share=0.5)
        elif self.claimed:
            self.record(SUCCESS if self._draw.random() < 0.6 else FAILURE)

    def _event(self) -> None:
        job, type_ = self._draw.choice(list(self._sequences)), self._draw.choice(JOB_EVENTS)
        self._sequences[job] += self._draw.randint(1, 3)
        if type_ != SETTLED:
            self.last_ends[job] = self._sequences[job]
        self._store.fan_out(job_event(job, self._sequences[job], type_))

    def claim(self, limit: int) -> None:
        """Claim; the receiver gets the events at once."""
        for claim in self._store.claim(limit):
            job, sequence = claim.delivery.job_id, claim.delivery.sequence
            assert job is not None
            assert sequence is not None
            self.sent.setdefault((claim.delivery.endpoint_id, job), []).append(sequence)
            self.claimed.append(claim)

    def lose_claims(self, *, share: float) -> None:
        """Let leases end; some of the processes that held them come back later."""
        self._store.pass_time(hours=30)
        self._store.run(lambda connection: abandon_expired(connection, limit=100))
        self.claimed = [claim for claim in self.claimed if self._draw.random() > share]
        self._store.pass_time(hours=1)

    def record(self, outcome: AttemptOutcome) -> None:
        """Record an outcome, perhaps too late."""
        self._store.record(self.claimed.pop(self._draw.randrange(len(self.claimed))), outcome)
