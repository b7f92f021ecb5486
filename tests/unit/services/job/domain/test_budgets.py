"""How often a failure is tried again, and when."""

from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from services.job.domain import retry_policy
from services.job.domain.failures import Failure, Stage
from services.job.domain.retry_policy import GiveUp, Requeue
from services.job.domain.states import State
from tests.unit.services.job.domain.test_transitions import job_in

EXPECTED = {
    Code.TEMPORARY: 3,
    Code.RATE_LIMIT: 10,
    Code.TIMEOUT: 3,
    Code.AUTH_ERROR: 1,
    Code.PERMANENT: 1,
    Code.UNKNOWN: 2,
}


def failure(code: Code, *, retry_after: float | None = None, stage: Stage = Stage.GENERATING) -> Failure:
    """A failure that says that it may pass."""
    return Failure(
        stage=stage, code=code, reason=Reason("X"), message="", retryable=True, retry_after_seconds=retry_after
    )


@pytest.mark.parametrize("code", Code)
def test_each_code_has_its_own_budget(code: Code) -> None:
    job, attempts = job_in(State.GENERATING), 1
    while isinstance(decision := retry_policy.decide(job, failure(code), max_attempts=3, jitter=0.5), Requeue):
        job, attempts = replace(job, failure_counts=decision.counts), attempts + 1

    assert attempts == EXPECTED[code]


def test_codes_do_not_eat_each_others_budgets() -> None:
    job = replace(job_in(State.GENERATING), failure_counts={"generating/TEMPORARY": 2})

    assert isinstance(retry_policy.decide(job, failure(Code.TIMEOUT), max_attempts=3, jitter=0), Requeue)
    assert isinstance(retry_policy.decide(job, failure(Code.TEMPORARY), max_attempts=3, jitter=0), GiveUp)


def test_uploads_have_budgets_of_their_own() -> None:
    job = replace(job_in(State.UPLOADING), failure_counts={"generating/TEMPORARY": 2})
    decision = retry_policy.decide(job, failure(Code.TEMPORARY, stage=Stage.UPLOADING), max_attempts=3, jitter=0)

    assert isinstance(decision, Requeue)


def test_what_may_not_be_repeated_is_not() -> None:
    ambiguous = replace(failure(Code.TIMEOUT), retryable=False)

    assert isinstance(retry_policy.decide(job_in(State.GENERATING), ambiguous, max_attempts=3, jitter=0), GiveUp)


@pytest.mark.parametrize(("failures", "longest"), [(1, 2), (2, 4), (3, 8), (20, 60)])
def test_waits_grow_with_full_jitter_up_to_a_minute(failures: int, longest: float) -> None:
    waits = [retry_policy.delay(failure(Code.TEMPORARY), failures=failures, jitter=jitter) for jitter in (0.0, 0.999)]

    assert waits[0] == 0
    assert waits[1] == pytest.approx(0.999 * longest)


def test_nobody_returns_before_the_provider_said() -> None:
    told = failure(Code.RATE_LIMIT, retry_after=30)

    assert retry_policy.delay(told, failures=1, jitter=0) == 30
    assert retry_policy.delay(told, failures=1, jitter=0.9) == pytest.approx(32.7)


def test_a_provider_cannot_park_a_job_for_ever() -> None:
    assert retry_policy.delay(failure(Code.RATE_LIMIT, retry_after=1e9), failures=1, jitter=0) == 3600
