"""Breakers: what opens them, who tries whether the provider is well again, and what closes them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from calotype.error_reasons import Code, Reason

from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.circuit_breakers import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Breaker,
    Health,
    health_of,
    next_state,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOSED = Breaker(provider="paid", model="flux")
SUCCESS = CallOutcome(call_id="c", phase=CallPhase.SUCCEEDED)
FAILURE = CallOutcome(call_id="c", phase=CallPhase.FAILED, code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE)
REFUSED_KEY = CallOutcome(call_id="c", phase=CallPhase.NOT_SENT, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH)
LIMITED = CallOutcome(call_id="c", phase=CallPhase.NOT_SENT, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT)


def test_failures_in_a_row_open_it() -> None:
    nearly = next_state(CLOSED, [FAILURE] * (FAILURES_TO_OPEN - 1), now=NOW)
    opened = next_state(nearly, [FAILURE], now=NOW)

    assert (nearly.is_open(NOW), nearly.opened_at) == (False, None)
    assert (opened.is_open(NOW), opened.opened_at) == (True, NOW)
    assert opened.open_until == NOW + timedelta(seconds=FIRST_PAUSE)


def test_one_that_goes_well_starts_the_count_anew() -> None:
    assert next_state(CLOSED, [*[FAILURE] * (FAILURES_TO_OPEN - 1), SUCCESS, FAILURE], now=NOW).failures == 1


def test_a_refused_credential_opens_it_at_once() -> None:
    opened = next_state(CLOSED, [REFUSED_KEY], now=NOW)

    assert opened.is_open(NOW)
    assert (opened.cause().code, opened.cause().reason) == (Code.AUTH_ERROR, "PROVIDER_AUTH")


def test_after_its_pause_it_lets_somebody_try() -> None:
    opened = next_state(CLOSED, [REFUSED_KEY], now=NOW)
    later = NOW + timedelta(seconds=FIRST_PAUSE)

    assert not opened.is_open(later)
    assert replace(opened, probe_until=later + timedelta(seconds=1)).is_open(later)


def test_each_try_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = next_state(CLOSED, [REFUSED_KEY], now=NOW), NOW, []
    for _ in range(6):
        assert breaker.open_until is not None
        pauses.append((breaker.open_until - now).total_seconds())
        now = breaker.open_until
        breaker = next_state(breaker, [REFUSED_KEY], now=now)

    assert pauses == [30, 60, 120, 240, LONGEST_PAUSE, LONGEST_PAUSE]
    assert breaker.opened_at == NOW


def test_calls_that_were_under_way_when_it_opened_prolong_nothing() -> None:
    opened = next_state(CLOSED, [FAILURE] * FAILURES_TO_OPEN, now=NOW)

    assert next_state(opened, [FAILURE], now=NOW + timedelta(seconds=5)).open_until == opened.open_until


def test_a_try_that_goes_well_closes_it() -> None:
    assert next_state(next_state(CLOSED, [REFUSED_KEY], now=NOW), [SUCCESS], now=NOW) == CLOSED


def test_a_try_that_says_nothing_leaves_the_next_one_to_another() -> None:
    tried = replace(next_state(CLOSED, [REFUSED_KEY], now=NOW), probe_until=NOW + timedelta(hours=1))

    assert next_state(tried, [LIMITED], now=NOW).probe_until is None


@pytest.mark.parametrize(
    ("phase", "reason", "says"),
    [
        (CallPhase.SUCCEEDED, None, Health.SUCCESS),
        (CallPhase.REFUSED, Reason.CONTENT_POLICY, Health.SUCCESS),
        (CallPhase.UNKNOWN, Reason.PROVIDER_TIMEOUT, Health.FAILURE),
        (CallPhase.FAILED, Reason.PROVIDER_UNAVAILABLE, Health.FAILURE),
        (CallPhase.NOT_SENT, Reason.PROVIDER_AUTH, Health.REFUSED),
        (CallPhase.NOT_SENT, Reason.PROVIDER_RATE_LIMIT, Health.IGNORED),
        (CallPhase.NOT_SENT, Reason.INVALID_INPUT, Health.IGNORED),
        (CallPhase.CANCELED, None, Health.IGNORED),
        (CallPhase.NOT_SENT, None, Health.IGNORED),
    ],
)
def test_what_the_end_of_a_call_says_of_its_provider(phase: CallPhase, reason: Reason | None, says: Health) -> None:
    assert health_of(CallOutcome(call_id="c", phase=phase, reason=reason)) is says
