"""Health of an endpoint: the circuit breaker, disabling, Retry-After, notices."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.notifier.domain import health as rules
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.endpoints import IN_FLIGHT, SLOW_IN_FLIGHT, in_flight_limit
from services.notifier.domain.health import DisabledReason, EndpointHealth, EndpointState, Notice

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SUCCESS = AttemptOutcome(duration_ms=20, status=204)
FAILURE = AttemptOutcome(duration_ms=20, status=500, error=AttemptError.STATUS)
GONE = AttemptOutcome(duration_ms=20, status=410, error=AttemptError.STATUS)
BUSY = AttemptOutcome(duration_ms=20, status=429, error=AttemptError.STATUS)
PROXY = AttemptOutcome(duration_ms=20, error=AttemptError.PROXY)
ABANDONED = AttemptOutcome(duration_ms=60_000, error=AttemptError.ABANDONED)
WORKING = EndpointHealth(is_slow=False)


def after(
    health: EndpointHealth,
    *outcomes: AttemptOutcome,
    at: datetime = NOW,
    is_probe: bool = False,
    may_disable: bool = True,
    random: float = 0.5,
) -> tuple[EndpointHealth, list[Notice]]:
    """The health after several attempts at one time, and the notices."""
    notices = []
    for outcome in outcomes:
        health, notice = rules.after(
            health, outcome, at, is_probe=is_probe, may_disable=may_disable, random=lambda: random
        )
        notices += [] if notice is None else [notice]
    return health, notices


def seconds_blocked(health: EndpointHealth, at: datetime = NOW) -> float:
    assert health.blocked_until is not None
    return (health.blocked_until - at).total_seconds()


def test_five_failures_in_a_row_open_the_breaker_and_the_fifth_notifies() -> None:
    health, notices = after(WORKING, *[FAILURE] * 4)
    assert (health.state, notices) == (EndpointState.FAILING, [])

    health, notices = after(health, FAILURE)
    assert (health.state, notices) == (EndpointState.DEGRADED, [Notice.DEGRADED])
    assert seconds_blocked(health) == 30.0
    assert in_flight_limit(health) == 1


def test_a_success_between_failures_begins_the_row_anew() -> None:
    health, _ = after(WORKING, *[FAILURE] * 4, SUCCESS, *[FAILURE] * 4)
    assert health.state is EndpointState.FAILING


def test_overload_counts_half_so_that_ten_in_a_row_open_the_breaker() -> None:
    health, notices = after(WORKING, *[BUSY] * 9)
    assert (health.state, notices) == (EndpointState.FAILING, [])
    assert after(health, BUSY)[1] == [Notice.DEGRADED]


def test_seventy_percent_of_failure_in_a_window_opens_the_breaker() -> None:
    pattern = [SUCCESS, FAILURE, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, SUCCESS, FAILURE]
    health, notices = after(WORKING, *pattern)
    assert (health.state, notices) == (EndpointState.FAILING, [])
    assert after(health, FAILURE)[1] == [Notice.DEGRADED]


def test_a_window_ends_after_five_minutes() -> None:
    pattern = [SUCCESS, FAILURE, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, SUCCESS, FAILURE]
    health, _ = after(WORKING, *pattern)
    health, notices = after(health, FAILURE, at=NOW + timedelta(minutes=5))
    assert (notices, health.window_attempts) == ([], 1)


def test_fewer_than_ten_attempts_in_a_window_open_nothing() -> None:
    health, notices = after(WORKING, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, FAILURE, FAILURE)
    assert (health.state, notices) == (EndpointState.FAILING, [])


def test_each_failed_probe_doubles_the_pause_up_to_an_hour() -> None:
    health, _ = after(WORKING, *[FAILURE] * 5)
    pauses = []
    for _ in range(9):
        health, notices = after(health, FAILURE, is_probe=True)
        assert notices == []
        pauses.append(seconds_blocked(health))
        health = replace(health, blocked_until=None)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_breaker_that_opened_for_years_still_pauses_an_hour() -> None:
    health, _ = after(EndpointHealth(openings=100_000, failing_since=NOW), FAILURE, is_probe=True, may_disable=False)
    assert seconds_blocked(health) == 3_600


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 24.0), (0.999999, 36.0)])
def test_the_pause_varies_by_a_fifth(random: float, seconds: float) -> None:
    health, _ = after(WORKING, *[FAILURE] * 5, random=random)
    assert seconds_blocked(health) == pytest.approx(seconds, abs=0.001)


def test_attempts_that_were_under_way_when_the_breaker_opened_do_not_lengthen_its_pause() -> None:
    health, notices = after(WORKING, *[FAILURE] * 8)
    assert (health.openings, seconds_blocked(health), notices) == (1, 30.0, [Notice.DEGRADED])


def test_a_successful_probe_closes_the_breaker_and_notifies_once() -> None:
    opened, _ = after(WORKING, *[FAILURE] * 5)
    health, notices = after(opened, SUCCESS, is_probe=True)
    assert (health.state, health.blocked_until, notices) == (EndpointState.HEALTHY, None, [Notice.RECOVERED])
    assert (health.is_slow, health.window_attempts, health.window_points) == (False, 1, 0)
    assert after(health, SUCCESS)[1] == []


def test_a_failing_endpoint_that_never_degraded_recovers_without_a_notice() -> None:
    assert after(WORKING, FAILURE, SUCCESS)[1] == []


def test_degraded_is_notified_once_per_failing_period() -> None:
    health, first = after(WORKING, *[FAILURE] * 5)
    health, again = after(health, FAILURE, FAILURE, is_probe=True)
    health, recovered = after(health, SUCCESS, is_probe=True)
    _, second = after(health, *[FAILURE] * 5)
    assert (first, again, recovered, second) == ([Notice.DEGRADED], [], [Notice.RECOVERED], [Notice.DEGRADED])


def test_five_days_of_failure_disable_an_endpoint() -> None:
    health, _ = after(WORKING, FAILURE)
    assert health.will_disable_at == NOW + timedelta(days=5)
    health, notices = after(health, FAILURE, at=NOW + timedelta(days=5, seconds=-1))
    assert (health.state, notices) == (EndpointState.FAILING, [])

    health, notices = after(health, FAILURE, at=NOW + timedelta(days=5))
    assert (health.disabled_reason, notices) == (DisabledReason.FAILING, [Notice.DISABLED])
    assert (health.disabled_at, health.blocked_until, health.will_disable_at) == (NOW + timedelta(days=5), None, None)


def test_the_five_days_begin_anew_after_a_success() -> None:
    health, _ = after(WORKING, FAILURE)
    health, _ = after(health, SUCCESS, at=NOW + timedelta(days=4))
    health, _ = after(health, FAILURE, at=NOW + timedelta(days=6))
    assert health.state is EndpointState.FAILING


def test_five_days_do_not_disable_the_origin_of_callback_urls() -> None:
    health, _ = after(WORKING, FAILURE)
    health, notices = after(health, FAILURE, GONE, at=NOW + timedelta(days=6), may_disable=False)
    assert (health.disabled_reason, notices) == (None, [])


def test_410_disables_at_once() -> None:
    health, notices = after(WORKING, GONE)
    assert (health.state, health.disabled_reason, notices) == (
        EndpointState.DISABLED,
        DisabledReason.GONE,
        [Notice.DISABLED],
    )


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE, GONE, BUSY])
def test_late_outcomes_leave_a_disabled_endpoint_as_it_is(outcome: AttemptOutcome) -> None:
    disabled = rules.disable(WORKING, DisabledReason.BY_TENANT, NOW)
    assert after(disabled, outcome) == (disabled, [])


def test_enabling_resets_health() -> None:
    assert rules.enable() == EndpointHealth()


@pytest.mark.parametrize("outcome", [PROXY, ABANDONED])
def test_our_own_faults_change_nothing(outcome: AttemptOutcome) -> None:
    opened, _ = after(WORKING, *[FAILURE] * 5)
    for health in (WORKING, opened):
        assert after(health, outcome, is_probe=health.is_open) == (health, [])


def test_retry_after_of_an_overloaded_receiver_blocks_the_endpoint() -> None:
    health, _ = after(WORKING, replace(BUSY, retry_after=600.0))
    assert (health.state, seconds_blocked(health)) == (EndpointState.FAILING, 600.0)


@pytest.mark.parametrize(("retry_after", "seconds"), [(1e9, 86_400.0), (86_400.0, 86_400.0)])
def test_retry_after_is_bounded_to_a_day(retry_after: float, seconds: float) -> None:
    assert seconds_blocked(after(WORKING, replace(BUSY, retry_after=retry_after))[0]) == seconds


@pytest.mark.parametrize("retry_after", [0.0, -5.0, None])
def test_a_retry_after_of_nothing_blocks_nothing(retry_after: float | None) -> None:
    assert after(WORKING, replace(BUSY, retry_after=retry_after))[0].blocked_until is None


def test_retry_after_with_another_status_does_not_block_the_endpoint() -> None:
    assert after(WORKING, replace(FAILURE, retry_after=600.0))[0].blocked_until is None


def test_a_longer_retry_after_lasts_beyond_later_outcomes() -> None:
    health, _ = after(WORKING, replace(BUSY, retry_after=600.0), replace(BUSY, retry_after=10.0), SUCCESS)
    assert seconds_blocked(health) == 600.0
    health, _ = after(health, *[FAILURE] * 5)
    assert seconds_blocked(health) == 600.0


def test_a_new_endpoint_is_slow_until_its_first_success() -> None:
    assert (EndpointHealth().is_slow, in_flight_limit(EndpointHealth())) == (True, SLOW_IN_FLIGHT)
    health, _ = after(EndpointHealth(), SUCCESS)
    assert (health.is_slow, in_flight_limit(health)) == (False, IN_FLIGHT)


@pytest.mark.parametrize(
    "outcome",
    [
        replace(SUCCESS, duration_ms=2_001),
        replace(FAILURE, duration_ms=2_001),
        AttemptOutcome(duration_ms=20_000, error=AttemptError.TIMEOUT_HEADERS),
        AttemptOutcome(duration_ms=100, error=AttemptError.TIMEOUT_BODY),
    ],
)
def test_slow_outcomes_make_an_endpoint_slow_and_a_fast_success_makes_it_fast(outcome: AttemptOutcome) -> None:
    health, _ = after(WORKING, outcome)
    assert health.is_slow
    assert after(health, FAILURE)[0].is_slow
    assert not after(health, SUCCESS)[0].is_slow


def test_fast_failures_do_not_make_an_endpoint_slow_before_the_breaker_opens() -> None:
    health, _ = after(WORKING, *[FAILURE] * 4)
    assert not health.is_slow
    assert after(health, FAILURE)[0].is_slow


def test_the_last_failure_is_shown_until_a_success() -> None:
    health, _ = after(WORKING, FAILURE, AttemptOutcome(duration_ms=1, error=AttemptError.DNS))
    assert (health.last_error, health.last_status, health.failing_since) == (AttemptError.DNS, None, NOW)
    health, _ = after(health, SUCCESS)
    assert (health.last_error, health.last_status, health.failing_since) == (None, None, None)
