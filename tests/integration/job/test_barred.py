"""What a breaker or a limit bars, and what it does not: fetching what is at a provider already, and another's try."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import stale_jobs
from services.job.application.provider_calls import record_operation
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.circuit_breakers import FAILURES_TO_OPEN
from services.job.domain.jobs import Job
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, generated, image_of, succeeded

FULL = replace(PAID, max_concurrency=1, requests_per_minute=1)
CRASH = "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE lease_token IS NOT NULL"


def rescue(desk: JobUseCases) -> None:
    """One round of the stale-job monitor after every worker died."""
    desk.sql(CRASH)
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits))


def bar(desk: JobUseCases) -> None:
    """The paid provider keeps failing, and has all the calls and requests that it may have; who waits is due."""
    desk.sql("UPDATE jobs SET run_at = clock_timestamp() + interval '1 h' WHERE state = 'queued'")
    for _ in range(FAILURES_TO_OPEN):
        job, call = desk.generate(provider="paid")
        ill = CallOutcome(
            call_id=call.id,
            phase=CallPhase.UNKNOWN,
            code=Code.TEMPORARY,
            reason=Reason.PROVIDER_UNAVAILABLE,
            is_over=False,
        )
        desk.apply(failed(job, calls=(ill,), retryable=False))
    desk.register(FREE, FULL)
    desk.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'queued'")


def let_one_try(desk: JobUseCases) -> None:
    """It is time to see whether the provider is well again."""
    desk.sql("UPDATE breakers SET open_until = clock_timestamp()")


def accepted(desk: JobUseCases, **request: object) -> ProviderCall:
    """An operation under way at the provider."""
    _, call = desk.generate(provider="paid", **request)
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    return call


def test_an_operation_is_followed_where_nothing_more_may_be_bought(desk: JobUseCases) -> None:
    call = accepted(desk)
    rescue(desk)
    bar(desk)
    desk.create(provider="paid")

    [claimed] = desk.claim(2)
    assert (claimed.job.id, [one.phase for one in claimed.calls]) == (call.job_id, [CallPhase.ACCEPTED])
    assert [route.provider for route in claimed.routes] == ["paid"]
    assert desk.claim(2) == []


@pytest.mark.parametrize("phase", [CallPhase.SUCCEEDED, CallPhase.UNKNOWN])
def test_a_result_that_is_missing_is_fetched_where_nothing_more_may_be_bought(
    desk: JobUseCases, phase: CallPhase
) -> None:
    call = accepted(desk)
    ended = CallOutcome(call_id=call.id, phase=phase, operation_id="op")
    desk.apply(failed(desk.job(call.job_id), calls=(ended,)))
    bar(desk)

    assert [one.job.id for one in desk.claim()] == [call.job_id]


def test_what_is_here_already_is_no_reason_to_pass_a_breaker(desk: JobUseCases) -> None:
    call = accepted(desk, n=2)
    job = desk.job(call.job_id)
    # The one call made one of two images: the other has to be bought.
    desk.sql("UPDATE provider_calls SET image_indexes = '{0}'")
    desk.apply(failed(job, calls=(succeeded(call),), images=(image_of(job, call, 0),)))
    bar(desk)

    assert desk.claim() == []


def test_a_generator_without_the_provider_follows_nothing_of_it(desk: JobUseCases) -> None:
    accepted(desk)
    rescue(desk)

    assert desk.claim(only=("procedural",)) == []


def test_no_two_generators_follow_one_operation(desk: JobUseCases) -> None:
    for _ in range(3):
        accepted(desk)
    rescue(desk)
    claimed = [one.job.id for _ in range(3) for one in desk.claim(2)]

    assert len(claimed) == len(set(claimed)) == 3


def cancel(desk: JobUseCases, job: Job) -> None:
    """Its user cancels it."""
    desk.cancel(job.id)


def release(desk: JobUseCases, job: Job) -> None:
    """Its worker stops."""
    desk.release(job)
    desk.cancel(job.id)


def crash(desk: JobUseCases, job: Job) -> None:
    """Its worker dies."""
    rescue(desk)
    desk.cancel(job.id)


def fail(desk: JobUseCases, job: Job) -> None:
    """It fails before its call."""
    desk.apply(failed(job, code=Code.PERMANENT, reason=Reason.INVALID_INPUT, retryable=False))


def erase(desk: JobUseCases, job: Job) -> None:
    """It is gone altogether."""
    desk.sql("DELETE FROM jobs WHERE id = :id", id=job.id)


@pytest.mark.parametrize("end", [cancel, release, crash, fail, erase])
def test_a_try_ends_with_the_claim_that_made_it(desk: JobUseCases, end: Callable[[JobUseCases, Job], None]) -> None:
    bar(desk)
    desk.register(FREE, PAID)
    let_one_try(desk)
    for _ in range(2):
        desk.create(provider="paid")
    [trying] = desk.claim(2)
    assert desk.claim(2) == []
    end(desk, trying.job)

    [next_one] = desk.claim(2)
    assert next_one.job.id != trying.job.id


def test_a_try_goes_on_while_its_claim_does(desk: JobUseCases) -> None:
    bar(desk)
    desk.register(FREE, PAID)
    let_one_try(desk)
    for _ in range(2):
        desk.create(provider="paid")
    [trying] = desk.claim(2)
    call = desk.begin(trying.job)

    assert desk.claim(2) == []
    desk.apply(generated(desk.job(trying.job.id), call))
    assert len(desk.claim(2)) == 1


def test_a_try_that_an_older_job_service_noted_holds_for_its_time(desk: JobUseCases) -> None:
    bar(desk)
    desk.register(FREE, PAID)
    let_one_try(desk)
    desk.create(provider="paid")
    desk.sql("UPDATE breakers SET probe_until = clock_timestamp() + interval '1 minute'")

    assert desk.claim() == []
    desk.sql("UPDATE breakers SET probe_until = clock_timestamp()")
    assert len(desk.claim()) == 1
