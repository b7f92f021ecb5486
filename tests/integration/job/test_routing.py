"""Limits and breakers of providers, held over all generators; and ways around."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import stale_jobs
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.circuit_breakers import FAILURES_TO_OPEN, Route
from services.job.domain.jobs import Job
from services.job.domain.providers import Model
from services.job.domain.refusals import Refusal
from services.job.domain.states import State, Transition
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, generated

NARROW = replace(PAID, max_concurrency=2)
SLOW = replace(PAID, requests_per_minute=2)
SPARE = replace(PAID, name="spare", default_model="sketch")
BOTH = ("paid", "spare")


def fail_a_call(desk: JobUseCases, *, code: Code = Code.TEMPORARY, reason: Reason = Reason.PROVIDER_UNAVAILABLE) -> Job:
    """One job's call fails for good at the paid provider."""
    job, call = desk.generate(provider="paid")
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.FAILED, code=code, reason=reason)
    desk.apply(failed(job, calls=(outcome,), code=code, reason=reason, retryable=False))
    return desk.job(job.id)


def refuse_the_key(desk: JobUseCases) -> Job:
    """The credential for the paid provider is refused."""
    return fail_a_call(desk, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH)


def pass_time(desk: JobUseCases, seconds: int) -> None:
    """Let breakers and waiting jobs be as old as if so much time had passed."""
    desk.sql(
        "UPDATE breakers SET opened_at = opened_at - make_interval(secs => :s),"
        " open_until = open_until - make_interval(secs => :s), probe_until = probe_until - make_interval(secs => :s)",
        s=seconds,
    )
    desk.sql("UPDATE jobs SET queued_at = queued_at - make_interval(secs => :s) WHERE state = 'queued'", s=seconds)


def rescue(desk: JobUseCases) -> dict[str, int]:
    """One round of the stale-job monitor."""
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    changes = desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits))
    return dict(Counter(change.transition for change in changes))


def test_no_more_jobs_are_claimed_than_their_provider_has_places(desk: JobUseCases) -> None:
    desk.register(FREE, NARROW)
    for _ in range(4):
        desk.create(provider="paid")

    first = desk.claim(8)
    assert len(first) == 2
    assert desk.claim(8) == []
    desk.apply(generated(desk.job(first[0].job.id), desk.begin(first[0].job)))
    assert len(desk.claim(8)) == 1


def test_a_full_provider_keeps_no_other_job_from_its_turn(desk: JobUseCases) -> None:
    desk.register(FREE, NARROW)
    for _ in range(60):
        desk.create(provider="paid")
    desk.claim(2)
    free = desk.create(provider="procedural")

    assert [one.job.id for one in desk.claim(2)] == [free.job.id]


def test_generators_that_claim_at_once_do_not_pass_a_limit_together(desk: JobUseCases) -> None:
    desk.register(FREE, NARROW)
    for _ in range(20):
        desk.create(provider="paid")
    with ThreadPoolExecutor(8) as generators:
        claimed = [one for found in generators.map(lambda _: desk.claim(4), range(8)) for one in found]

    assert len(claimed) == 2


def test_generators_that_claim_at_once_do_not_pass_a_tenants_limit_together(desk: JobUseCases) -> None:
    for _ in range(20):
        desk.create()
    desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) VALUES ('acme', 3)")
    with ThreadPoolExecutor(8) as generators:
        claimed = [one for found in generators.map(lambda _: desk.claim(2), range(8)) for one in found]

    assert len(claimed) == 3


def test_a_call_that_is_open_after_its_job_holds_its_place(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PAID, max_concurrency=1))
    job, _ = desk.generate(provider="paid")
    desk.create(provider="paid")
    desk.cancel(job.id)

    assert desk.claim(2) == []
    desk.sql("UPDATE provider_calls SET created_at = created_at - make_interval(secs => timeout_seconds)")
    assert len(desk.claim(2)) == 1


def test_a_job_whose_own_call_holds_the_last_place_can_follow_it_up(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PAID, max_concurrency=1))
    job, _ = desk.generate(provider="paid")
    desk.release(job)

    assert [one.job.id for one in desk.claim(2)] == [job.id]


def test_a_call_beyond_the_limit_does_not_begin_and_its_job_waits_without_an_attempt(desk: JobUseCases) -> None:
    desk.create(provider="paid")
    desk.create(provider="paid")
    first, second = desk.claim(2)
    desk.begin(first.job)
    desk.register(FREE, replace(PAID, max_concurrency=1))

    with pytest.raises(Refusal) as refused:
        desk.begin(second.job)
    assert refused.value.reason == "PROVIDER_BUSY"
    desk.apply(failed(second.job, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_BUSY, deferred=True))
    waiting = desk.job(second.job.id)
    assert (waiting.state, waiting.attempt_count, waiting.failure_counts) == (State.QUEUED, 0, {"deferrals": 1})
    assert waiting.deferral is not None
    assert waiting.deferral.reason == "PROVIDER_BUSY"


def test_a_deferral_is_the_cause_when_a_job_waits_past_its_time(desk: JobUseCases) -> None:
    desk.create(provider="paid")
    [claimed] = desk.claim()
    desk.apply(failed(claimed.job, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_BUSY, deferred=True))
    pass_time(desk, 90_000)

    assert rescue(desk) == {Transition.FAIL: 1}
    failure = desk.job(claimed.job.id).failure
    assert failure is not None
    assert (failure.stage, failure.code, failure.reason) == ("queued", Code.RATE_LIMIT, "PROVIDER_BUSY")


def test_no_more_calls_begin_within_a_minute_than_the_provider_takes(desk: JobUseCases) -> None:
    desk.register(FREE, SLOW)
    for _ in range(4):
        desk.create(provider="paid")
    claimed = desk.claim(8)
    assert len(claimed) == 2
    for one in claimed:
        desk.begin(one.job)
    assert desk.claim(8) == []
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '1 minute'")
    assert len(desk.claim(8)) == 2


def test_a_call_too_many_within_a_minute_is_told_when_there_is_room(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PAID, requests_per_minute=1))
    desk.create(n=2, provider="paid")
    [claimed] = desk.claim()
    desk.begin(claimed.job, 0)

    with pytest.raises(Refusal) as refused:
        desk.begin(claimed.job, 1)
    assert refused.value.retry_after_seconds == pytest.approx(60, abs=10)


def test_a_provider_that_keeps_failing_gets_no_more_jobs(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PAID, models=(Model(name="flux"), Model(name="other"))))
    for _ in range(FAILURES_TO_OPEN):
        fail_a_call(desk)
    waiting = desk.create(provider="paid")

    assert desk.claim(2) == []
    # Another model of it is another matter.
    other = desk.create(provider="paid", model="other")
    assert [one.job.id for one in desk.claim(2)] == [other.job.id]
    assert desk.job(waiting.job.id).attempt_count == 0


def test_refusals_and_failures_of_the_request_open_nothing(desk: JobUseCases) -> None:
    for _ in range(2 * FAILURES_TO_OPEN):
        fail_a_call(desk, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY)
        fail_a_call(desk, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT)

    assert desk.sql("SELECT 1 FROM breakers") == []


def test_one_job_tries_for_all_and_lets_them_in(desk: JobUseCases) -> None:
    refuse_the_key(desk)
    for _ in range(3):
        desk.create(provider="paid")
    assert desk.claim(3) == []
    pass_time(desk, 31)

    [trying] = desk.claim(3)
    assert desk.claim(3) == []
    desk.apply(generated(desk.job(trying.job.id), desk.begin(trying.job)))
    assert len(desk.claim(3)) == 2
    assert desk.sql("SELECT 1 FROM breakers") == []


def test_a_generator_that_starts_may_have_the_right_key(desk: JobUseCases) -> None:
    refuse_the_key(desk)
    desk.create(provider="paid")
    assert desk.claim() == []
    desk.register()
    assert desk.claim() == []
    desk.register(is_starting=True)

    assert len(desk.claim()) == 1


def test_who_waits_for_a_refused_key_alone_is_told_after_five_minutes(desk: JobUseCases) -> None:
    desk.register(FREE, PAID, SPARE)
    refuse_the_key(desk)
    alone = desk.create(provider="paid")
    other = desk.create(provider="paid", fallback=("spare",))
    pass_time(desk, 290)
    assert rescue(desk) == {}
    pass_time(desk, 20)

    assert rescue(desk) == {Transition.FAIL: 1}
    failure = desk.job(alone.job.id).failure
    assert failure is not None
    assert (failure.stage, failure.code, failure.reason) == ("queued", Code.AUTH_ERROR, "PROVIDER_AUTH")
    assert desk.job(other.job.id).state is State.QUEUED


def test_a_job_goes_around_a_provider_that_gets_none(desk: JobUseCases) -> None:
    desk.register(FREE, PAID, SPARE)
    refuse_the_key(desk)
    waiting = desk.create(provider="paid")
    going = desk.create(provider="paid", fallback=("spare",))

    [claimed] = desk.claim(4, only=BOTH)
    assert claimed.job.id == going.job.id
    assert claimed.routes == [Route(provider="spare", model="sketch")]
    assert desk.begin(claimed.job, provider="spare").provider == "spare"
    assert desk.job(waiting.job.id).state is State.QUEUED


def test_a_worker_is_told_every_way_in_order(desk: JobUseCases) -> None:
    desk.register(FREE, PAID, SPARE)
    desk.create(provider="paid", fallback=("spare",))

    [claimed] = desk.claim(only=BOTH)
    assert [route.provider for route in claimed.routes] == ["paid", "spare"]


def test_nothing_is_bought_where_the_job_does_not_say(desk: JobUseCases) -> None:
    desk.register(FREE, PAID, SPARE)
    desk.create(provider="paid")
    [claimed] = desk.claim(only=BOTH)

    with pytest.raises(Refusal, match="does not name spare"):
        desk.begin(claimed.job, provider="spare")


def test_a_fallback_that_would_lose_a_field_by_now_is_no_way(desk: JobUseCases) -> None:
    able = replace(PAID, capabilities=replace(PAID.capabilities, backgrounds=("transparent",)))
    desk.register(FREE, able, replace(able, name="spare"))
    desk.create(provider="paid", fallback=("spare",), background="transparent")
    desk.register(FREE, able, SPARE)
    [claimed] = desk.claim(only=BOTH)

    assert [route.provider for route in claimed.routes] == ["paid"]


def test_a_provider_that_would_lose_a_field_by_now_is_sent_nothing(desk: JobUseCases) -> None:
    able = replace(PAID, capabilities=replace(PAID.capabilities, moderations=("low",)))
    desk.register(FREE, able)
    desk.create(provider="paid", moderation="low")
    [claimed] = desk.claim()
    desk.register(FREE, PAID)

    with pytest.raises(Refusal, match="paid does not support moderation") as refusal:
        desk.begin(claimed.job)
    assert refusal.value.reason == "UNSUPPORTED"
    assert desk.sql("SELECT count(*) FROM provider_calls") == [(0,)]


def test_what_a_job_names_is_kept_with_it(desk: JobUseCases) -> None:
    able = replace(PAID.capabilities, backgrounds=("auto",), output_compression=True, moderations=("low",))
    desk.register(FREE, replace(PAID, capabilities=able))
    job = desk.create(provider="paid", background="auto", output_compression=0, moderation="low").job

    request = desk.job(job.id).request
    assert request is not None
    assert (request.background, request.output_compression, request.moderation) == ("auto", 0, "low")
