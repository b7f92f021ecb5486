"""Limits count what happened at the provider: places until an end is heard, and each request that left."""

from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import stale_jobs
from services.job.application.provider_calls import record_operation, resend_provider_call
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall, WorkerReport
from services.job.domain.facts import LedgerSettled
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, fence_of, succeeded

ONE = replace(PAID, max_concurrency=1)
#: Its calls may be sent again under their own key.
KEYED = replace(PAID, capabilities=replace(PAID.capabilities, idempotent=True, resumable=False))
OVER = "UPDATE provider_calls SET created_at = created_at - make_interval(secs => timeout_seconds)"


def crash(desk: JobUseCases) -> None:
    """Every worker dies, its lease runs out, and the monitor sees it."""
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE lease_token IS NOT NULL")
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits))


def ends_unknown(desk: JobUseCases, job: Job, call: ProviderCall) -> None:
    """Whoever follows a dead worker does not know what became of its call."""
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN)
    desk.apply(failed(job, code=Code.TIMEOUT, reason=Reason.AMBIGUOUS_OUTCOME, retryable=False, calls=(outcome,)))


def resend(desk: JobUseCases, job: Job, call: ProviderCall) -> ProviderCall:
    """Send a call again under its own key."""
    return desk.run(lambda c: resend_provider_call(c, fence_of(job), call.id, WorkerReport())).call


def time_passes(desk: JobUseCases, seconds: float) -> None:
    """Let every request be that much older."""
    desk.sql("UPDATE provider_calls SET created_at = created_at - make_interval(secs => :s)", s=seconds)
    desk.sql("UPDATE resends SET sent_at = sent_at - make_interval(secs => :s)", s=seconds)


def test_a_call_that_a_rescue_settled_keeps_its_place_until_its_time_is_over(desk: JobUseCases) -> None:
    desk.register(FREE, ONE)
    _, call = desk.generate(provider="paid")
    crash(desk)
    [again] = desk.claim()
    ends_unknown(desk, again.job, call)
    waiting = desk.create(provider="paid").job

    assert desk.claim() == []
    desk.sql("UPDATE provider_calls SET occupied_until = occupied_until - make_interval(secs => timeout_seconds)")
    assert [one.job.id for one in desk.claim()] == [waiting.id]


def test_a_place_that_is_held_past_its_job_is_no_other_calls(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.create(provider="paid")
    [other] = desk.claim()
    ends_unknown(desk, job, call)
    desk.register(FREE, ONE)

    with pytest.raises(Refusal) as refused:
        desk.begin(other.job)
    assert refused.value.reason == "PROVIDER_BUSY"
    desk.sql("UPDATE provider_calls SET occupied_until = clock_timestamp()")
    assert desk.begin(other.job).phase is CallPhase.INTENDED


def test_a_job_that_buys_again_waits_for_the_place_of_its_own_lost_call(desk: JobUseCases) -> None:
    desk.register(FREE, ONE)
    job, call = desk.generate(provider="paid")
    ends_unknown(desk, job, call)
    desk.retry(job.id, consents=True)

    assert desk.claim() == []
    desk.sql("UPDATE provider_calls SET occupied_until = clock_timestamp()")
    [again] = desk.claim()
    assert desk.begin(again.job).id != call.id


@pytest.mark.parametrize(
    ("outcome", "is_free"),
    [
        ({"phase": CallPhase.NOT_SENT}, True),
        ({"phase": CallPhase.FAILED}, True),
        # The provider itself said that it lost it.
        ({"phase": CallPhase.UNKNOWN, "is_over": True}, True),
        # Nobody heard how it ended, which costs nothing.
        ({"phase": CallPhase.FAILED, "is_over": False}, False),
        ({"phase": CallPhase.UNKNOWN}, False),
    ],
)
def test_a_place_is_free_once_the_end_is_known(desk: JobUseCases, outcome: dict[str, object], is_free: bool) -> None:
    desk.register(FREE, ONE)
    job, call = desk.generate(provider="paid")
    desk.create(provider="paid")
    told = CallOutcome(**({"call_id": call.id} | outcome))  # type: ignore[arg-type]
    desk.apply(failed(job, retryable=False, calls=(told,)))

    assert len(desk.claim()) == is_free


def test_a_late_word_of_the_provider_frees_the_place(desk: JobUseCases) -> None:
    desk.register(FREE, ONE)
    job, call = desk.generate(provider="paid")
    ends_unknown(desk, job, call)
    desk.create(provider="paid")
    assert desk.claim() == []
    desk.apply(LedgerSettled(job_id=job.id, calls=(succeeded(call),), images=()))

    assert len(desk.claim()) == 1


def test_what_an_older_job_service_wrote_is_counted_by_its_phase(desk: JobUseCases) -> None:
    desk.register(FREE, ONE)
    _, call = desk.generate(provider="paid")
    desk.create(provider="paid")
    desk.cancel(call.job_id)
    assert desk.claim() == []
    # As it settles: it knows of no column for places.
    desk.sql("UPDATE provider_calls SET phase = 'succeeded', settled_at = clock_timestamp()")

    assert len(desk.claim()) == 1


def test_an_operation_that_waits_to_be_followed_holds_its_place_and_is_followed(desk: JobUseCases) -> None:
    desk.register(FREE, ONE)
    _, call = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    crash(desk)
    desk.create(provider="paid")

    assert [one.job.id for one in desk.claim(2)] == [call.job_id]
    assert desk.claim(2) == []


def test_what_is_sent_again_counts_as_a_request(desk: JobUseCases) -> None:
    desk.register(FREE, replace(KEYED, requests_per_minute=3))
    for _ in range(3):
        desk.create(provider="paid")
    for one in desk.claim(3):
        desk.begin(one.job)
    time_passes(desk, 61)
    crash(desk)
    for one in desk.claim(3):
        resend(desk, one.job, one.calls[0])
    desk.create(provider="paid")

    assert desk.claim() == []
    time_passes(desk, 61)
    assert len(desk.claim()) == 1


def test_a_request_too_many_is_not_sent_again_and_is_told_when_there_is_room(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.create(provider="paid")
    [other] = desk.claim()
    desk.begin(other.job)
    desk.release(job)
    [again] = desk.claim()
    desk.register(FREE, replace(KEYED, requests_per_minute=2))

    with pytest.raises(Refusal) as refused:
        resend(desk, again.job, call)
    assert refused.value.reason == "PROVIDER_BUSY"
    assert refused.value.retry_after_seconds == pytest.approx(60, abs=10)
    desk.apply(failed(again.job, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_BUSY, deferred=True))
    waiting = desk.job(job.id)
    assert (waiting.state, waiting.failure_counts) == (State.QUEUED, {"deferrals": 1})
    time_passes(desk, 61)
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    [third] = desk.claim()
    assert resend(desk, third.job, call).phase is CallPhase.INTENDED


def test_a_call_needs_no_second_place_to_be_sent_again_and_holds_its_own_anew(desk: JobUseCases) -> None:
    desk.register(FREE, replace(KEYED, max_concurrency=1))
    job, call = desk.generate(provider="paid")
    desk.release(job)
    [again] = desk.claim()
    resend(desk, again.job, call)
    desk.cancel(job.id)
    desk.sql(OVER)
    desk.create(provider="paid")

    assert desk.claim() == []


def test_a_resend_that_is_asked_twice_is_one_request(desk: JobUseCases) -> None:
    desk.register(FREE, KEYED)
    job, call = desk.generate(provider="paid")
    desk.release(job)
    [again] = desk.claim()
    desk.register(FREE, replace(KEYED, requests_per_minute=2))
    asked = [resend(desk, again.job, call) for _ in range(2)]

    assert [one.claim_number for one in asked] == [2, 2]
    assert desk.sql("SELECT count(*) AS n FROM resends")[0].n == 1
