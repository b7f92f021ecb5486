"""What an attempt makes of a delivery, the retry schedule, and how states are shown."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.notifier.domain import deliveries as rules
from services.notifier.domain import retry_schedule
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import ClaimedDelivery, DeliveryState, NextStep
from services.notifier.domain.endpoints import SignatureScheme, SlotShare

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SUCCESS = AttemptOutcome(duration_ms=20, status=200)
FAILURE = AttemptOutcome(duration_ms=20, status=500, error=AttemptError.STATUS)
GONE = AttemptOutcome(duration_ms=20, status=410, error=AttemptError.STATUS)
DELIVERY = ClaimedDelivery(
    id=uuid4(),
    endpoint_id=uuid4(),
    tenant="acme",
    url="https://example.com/",
    scheme=SignatureScheme.V1,
    event_type="job.completed",
    job_id="job_1",
    sequence=7,
    occurred_at=NOW,
    data=None,
    attempt_count=0,
    is_probe=False,
    share=SlotShare.NORMAL,
    lease_token=uuid4(),
)


def after(
    delivery: ClaimedDelivery, outcome: AttemptOutcome, *, ends_on_gone: bool = False, random: float = 0.5
) -> NextStep:
    return rules.after(delivery, outcome, NOW, ends_on_gone=ends_on_gone, random=lambda: random)


def pending(attempt_count: int, seconds: float) -> NextStep:
    due_at = NOW + timedelta(seconds=seconds)
    return NextStep(state=DeliveryState.PENDING, attempt_count=attempt_count, due_at=due_at)


def test_a_success_delivers() -> None:
    assert after(DELIVERY, SUCCESS) == NextStep(state=DeliveryState.DELIVERED, attempt_count=1)


@pytest.mark.parametrize(
    ("made", "seconds"),
    list(enumerate([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400])),
)
def test_failures_are_retried_after_growing_delays(made: int, seconds: float) -> None:
    assert after(replace(DELIVERY, attempt_count=made), FAILURE) == pending(made + 1, seconds)


def test_the_tenth_failure_is_the_last() -> None:
    assert retry_schedule.MAX_ATTEMPTS == 10
    step = after(replace(DELIVERY, attempt_count=9), FAILURE)
    assert step == NextStep(state=DeliveryState.FAILED, attempt_count=10)


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 4.0), (0.999999, 6.0)])
def test_delays_vary_by_a_fifth(random: float, seconds: float) -> None:
    due_at = after(DELIVERY, FAILURE, random=random).due_at
    assert due_at is not None
    assert (due_at - NOW).total_seconds() == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(("retry_after", "seconds"), [(60.0, 60.0), (1.0, 5.0), (1e9, 86_400.0), (-3.0, 5.0)])
def test_retry_after_lengthens_the_delay_up_to_a_day(retry_after: float, seconds: float) -> None:
    assert after(DELIVERY, replace(FAILURE, retry_after=retry_after)) == pending(1, seconds)


@pytest.mark.parametrize("error", [AttemptError.PROXY, AttemptError.ABANDONED])
@pytest.mark.parametrize("is_probe", [False, True])
def test_our_own_faults_burn_no_attempt(error: AttemptError, is_probe: bool) -> None:
    delivery = replace(DELIVERY, attempt_count=9, is_probe=is_probe)
    assert after(delivery, AttemptOutcome(duration_ms=1, error=error)) == pending(9, 30.0)


def test_a_failed_probe_burns_no_attempt() -> None:
    assert after(replace(DELIVERY, attempt_count=9, is_probe=True), FAILURE) == pending(9, 0.0)


def test_a_failed_probe_honours_retry_after() -> None:
    step = after(replace(DELIVERY, is_probe=True), replace(FAILURE, retry_after=90.0))
    assert step == pending(0, 90.0)


@pytest.mark.parametrize("is_probe", [False, True])
def test_410_ends_a_delivery_to_a_callback_url(is_probe: bool) -> None:
    step = after(replace(DELIVERY, is_probe=is_probe), GONE, ends_on_gone=True)
    assert step == NextStep(state=DeliveryState.FAILED, attempt_count=1)


def test_410_of_an_endpoint_leaves_the_delivery_to_be_held() -> None:
    assert after(DELIVERY, GONE).state is DeliveryState.PENDING


@pytest.mark.parametrize("state", DeliveryState)
def test_states_are_shown_so_that_each_is_found_where_it_is_shown(state: DeliveryState) -> None:
    for is_disabled in (False, True):
        shown = rules.visible_state(state, is_disabled=is_disabled)
        assert state in rules.stored_states(shown, is_disabled=is_disabled)


def test_undelivered_events_are_pending_and_those_of_a_disabled_endpoint_held() -> None:
    both = {DeliveryState.PENDING, DeliveryState.WAITING}
    assert set(rules.stored_states(DeliveryState.PENDING, is_disabled=False)) == both
    assert rules.stored_states(DeliveryState.PENDING, is_disabled=True) == ()
    assert set(rules.stored_states(DeliveryState.HELD, is_disabled=True)) == both | {DeliveryState.HELD}
    assert rules.stored_states(DeliveryState.HELD, is_disabled=False) == (DeliveryState.HELD,)
