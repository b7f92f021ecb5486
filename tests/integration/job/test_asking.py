"""Every ask carries what the asker knows: it is settled before the decision, in the same transaction."""

from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store.breakers import all_breakers
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, not_sent, succeeded

OTHER = replace(PAID, name="other")


def offer_both(desk: JobUseCases) -> None:
    """A job's provider and its fallback."""
    desk.register(FREE, PAID, OTHER)


@pytest.mark.parametrize("phase", [CallPhase.NOT_SENT, CallPhase.REFUSED, CallPhase.FAILED, CallPhase.CANCELED])
def test_a_fallback_is_asked_within_the_claim_once_the_first_surely_sold_nothing(
    desk: JobUseCases, phase: CallPhase
) -> None:
    offer_both(desk)
    desk.create(provider="paid", fallback=("other",))
    [claimed] = desk.claim()
    first = desk.begin(claimed.job)

    second = desk.begin(claimed.job, provider="other", known=[CallOutcome(call_id=first.id, phase=phase)])

    assert desk.sql("SELECT id, phase FROM provider_calls ORDER BY created_at") == [
        (first.id, phase),
        (second.id, CallPhase.INTENDED),
    ]


@pytest.mark.parametrize("phase", [None, CallPhase.UNKNOWN, CallPhase.SUCCEEDED])
def test_no_fallback_is_asked_while_the_first_may_have_sold(desk: JobUseCases, phase: CallPhase | None) -> None:
    offer_both(desk)
    desk.create(provider="paid", fallback=("other",))
    [claimed] = desk.claim()
    first = desk.begin(claimed.job)

    with pytest.raises(Refusal) as refusal:
        desk.begin(claimed.job, provider="other", known=[CallOutcome(call_id=first.id, phase=phase)] if phase else [])

    assert refusal.value.reason == ("CONSENT_REQUIRED" if phase else "ALREADY_BOUGHT")


def test_what_is_learned_with_an_ask_teaches_the_breakers(desk: JobUseCases) -> None:
    offer_both(desk)
    desk.create(provider="paid", fallback=("other",))
    [claimed] = desk.claim()
    first = desk.begin(claimed.job)
    refused = CallOutcome(call_id=first.id, phase=CallPhase.NOT_SENT, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH)

    desk.begin(claimed.job, provider="other", known=[refused])

    [breaker] = desk.run(all_breakers).values()
    assert (breaker.provider, breaker.opened_at is None) == ("paid", False)


def test_an_ask_that_is_refused_settles_nothing(desk: JobUseCases) -> None:
    offer_both(desk)
    desk.create(provider="paid")
    [claimed] = desk.claim()
    first = desk.begin(claimed.job)

    with pytest.raises(Refusal, match="does not name other"):
        desk.begin(claimed.job, provider="other", known=[not_sent(first)])

    assert desk.sql("SELECT phase FROM provider_calls") == [(CallPhase.INTENDED,)]


def test_an_ask_speaks_for_its_own_job_alone(desk: JobUseCases) -> None:
    _, others = desk.generate(provider="paid")
    desk.create(provider="paid")
    [claimed] = desk.claim()

    mine = desk.begin(claimed.job, known=[CallOutcome(call_id=others.id, phase=CallPhase.FAILED)])

    phases = dict(desk.sql("SELECT id, phase FROM provider_calls"))
    assert phases == {others.id: CallPhase.INTENDED, mine.id: CallPhase.INTENDED}


def test_a_job_that_is_handed_back_is_bought_anew_at_once_where_nothing_was_bought(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.release(job, not_sent(call))
    [claimed] = desk.claim()

    assert [one.phase for one in claimed.calls] == [CallPhase.NOT_SENT]
    assert desk.begin(claimed.job).phase is CallPhase.INTENDED


def test_a_job_that_is_handed_back_late_still_tells_what_was_bought_and_shows_it(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(failed(job, retryable=False))
    before = desk.get(job.id)
    desk.release(job, succeeded(call, cost=40_000))
    after = desk.get(job.id)

    assert (before.cost.amount_micros, after.cost.amount_micros) == (None, 40_000)
    assert after.job.sequence == before.job.sequence + 1
    assert after.job.state is State.FAILED


def test_whoever_follows_an_operation_is_generating(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.sql("UPDATE provider_calls SET phase = 'accepted', operation_id = 'op'")
    desk.release(job)
    [claimed] = desk.claim()
    assert claimed.job.state is State.PROCESSING

    followed = desk.follow(claimed.job, call.id)

    assert (followed.id, followed.operation_id) == (call.id, "op")
    assert desk.job(job.id).state is State.GENERATING


def test_a_call_without_an_operation_and_a_job_of_another_are_not_followed(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    with pytest.raises(Refusal, match="no operation"):
        desk.follow(job, call.id)
    desk.release(job)
    with pytest.raises(Refusal, match="no longer held"):
        desk.follow(job, call.id)
