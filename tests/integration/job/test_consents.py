"""A consent to pay again serves one purchase of each image."""

from collections.abc import Sequence

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application.claims import Claimed
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed, not_sent

CONSENTS = ["the user's", "the job's"]


def unknown(call: ProviderCall) -> CallOutcome:
    """Nobody knows what became of the call."""
    return CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN)


def claim_after(desk: JobUseCases, job: Job, ended: Sequence[CallOutcome]) -> Claimed:
    """The claim after one that may be tried again."""
    desk.apply(failed(job, code=Code.TIMEOUT, reason=Reason.AMBIGUOUS_OUTCOME, calls=tuple(ended)))
    desk.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'queued'")
    [claimed] = desk.claim()
    return claimed


def ambiguous(desk: JobUseCases, whose: str, *, n: int = 1) -> Claimed:
    """A job in a worker's hands, one call of which may have been charged, and whose consent there is."""
    if whose == "the job's":
        desk.create(provider="paid", n=n, on_ambiguous=OnAmbiguous.RETRY)
        [claimed] = desk.claim()
        return claim_after(desk, claimed.job, [unknown(desk.begin(claimed.job, 0))])
    job, call = desk.generate(provider="paid", n=n)
    desk.apply(failed(job, retryable=False, calls=(unknown(call),)))
    desk.retry(job.id, consents=True)
    [claimed] = desk.claim()
    return claimed


@pytest.mark.parametrize("whose", CONSENTS)
def test_one_consent_is_one_more_purchase_whose_outcome_nobody_knows(desk: JobUseCases, whose: str) -> None:
    claimed = ambiguous(desk, whose)
    assert claimed.may_pay_again

    again = desk.begin(claimed.job, 0)
    last = claim_after(desk, claimed.job, [unknown(again)])

    assert not last.may_pay_again
    with pytest.raises(Refusal) as refusal:
        desk.begin(last.job, 0)
    assert refusal.value.reason == "CONSENT_REQUIRED"


@pytest.mark.parametrize("whose", CONSENTS)
def test_a_purchase_that_surely_bought_nothing_leaves_the_consent(desk: JobUseCases, whose: str) -> None:
    claimed = ambiguous(desk, whose)
    again = desk.begin(claimed.job, 0)
    last = claim_after(desk, claimed.job, [not_sent(again)])

    assert last.may_pay_again
    assert desk.begin(last.job, 0).consent == again.consent


@pytest.mark.parametrize("whose", CONSENTS)
def test_each_image_has_a_purchase_of_its_own(desk: JobUseCases, whose: str) -> None:
    claimed = ambiguous(desk, whose, n=2)
    first = desk.begin(claimed.job, 0)
    second = desk.begin(claimed.job, 1, known=[unknown(first)])

    with pytest.raises(Refusal, match="no consent to pay again"):
        desk.begin(claimed.job, 0, known=[unknown(second)])


def test_a_clock_that_is_set_back_makes_no_second_purchase_of_one_consent(desk: JobUseCases) -> None:
    claimed = ambiguous(desk, "the user's")
    # As if it had been set back by an hour since the user said so.
    desk.sql("UPDATE jobs SET consented_at = consented_at + interval '1 hour'")
    again = desk.begin(claimed.job, 0)

    with pytest.raises(Refusal, match="no consent to pay again"):
        desk.begin(claimed.job, 0, known=[unknown(again)])


def test_a_user_may_consent_again(desk: JobUseCases) -> None:
    claimed = ambiguous(desk, "the user's")
    again = desk.begin(claimed.job)
    desk.apply(failed(claimed.job, retryable=False, calls=(unknown(again),)))
    with pytest.raises(Refusal, match="charged twice"):
        desk.retry(claimed.job.id)

    assert desk.retry(claimed.job.id, consents=True).job.state is State.QUEUED
    [third] = desk.claim()
    assert desk.begin(third.job).phase is CallPhase.INTENDED
