"""What may be bought, under whose consent, and what it cost."""

from dataclasses import replace
from datetime import timedelta

import pytest
from calotype.error_reasons import Reason

from services.job.domain.calls import (
    MAY_HAVE_BOUGHT,
    CallPhase,
    Consent,
    ProviderCall,
    check_purchase,
    consent_for,
    cost_of,
    may_pay_again,
    needs_consent,
)
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.requests import JobRequest, OnAmbiguous
from services.job.domain.states import State
from tests.unit.services.job.domain.test_transitions import NOW, job_in

SURELY_NOT_BOUGHT = {CallPhase.REFUSED, CallPhase.FAILED, CallPhase.CANCELED, CallPhase.NOT_SENT}
PERHAPS_LOST = {CallPhase.SUCCEEDED, CallPhase.UNKNOWN}
CONSENTS = {
    Consent.NONE: {"request": JobRequest(prompt="x")},
    Consent.JOB: {"request": JobRequest(prompt="x", on_ambiguous=OnAmbiguous.RETRY)},
    Consent.USER: {"user_consents": True},
}


def job_for(consent: Consent, *, images: int = 2) -> Job:
    """A job whose owner consented so far."""
    return replace(job_in(State.PROCESSING), image_count=images, **CONSENTS[consent])  # type: ignore[arg-type]


def call_in(phase: CallPhase, *indexes: int, cost: int | None = None) -> ProviderCall:
    """A row of the ledger that covers the indexes, 0 unless some are named."""
    return ProviderCall(
        id=f"call_{phase}",
        job_id="job_1",
        claim_number=1,
        provider="p",
        model="m",
        phase=phase,
        image_indexes=indexes or (0,),
        idempotency_key="k",
        request_digest="d",
        consent=Consent.NONE,
        cost_micros=cost,
        timeout_seconds=1,
        created_at=NOW,
    )


@pytest.mark.parametrize("consent", Consent)
def test_an_image_that_no_call_covers_is_bought_without_consent(consent: Consent) -> None:
    assert check_purchase(job_for(consent), indexes=[0, 1], calls=[], staged=[]) == (Consent.NONE, ())


@pytest.mark.parametrize("consent", Consent)
@pytest.mark.parametrize("phase", CallPhase)
def test_a_covered_image_is_bought_as_phase_and_consent_allow(phase: CallPhase, consent: Consent) -> None:
    call, job = call_in(phase), job_for(consent)
    if phase in SURELY_NOT_BOUGHT:
        assert check_purchase(job, indexes=[0], calls=[call], staged=[]) == (Consent.NONE, ())
    elif phase in PERHAPS_LOST and consent is not Consent.NONE:
        assert check_purchase(job, indexes=[0], calls=[call], staged=[]) == (consent, (call.id,))
    else:
        with pytest.raises(Refusal) as refusal:
            check_purchase(job, indexes=[0], calls=[call], staged=[])
        assert refusal.value.reason == ("CONSENT_REQUIRED" if phase in PERHAPS_LOST else "ALREADY_BOUGHT")
        assert call.id in refusal.value.message


@pytest.mark.parametrize("consent", [Consent.JOB, Consent.USER])
def test_no_consent_buys_beside_a_call_that_is_open(consent: Consent) -> None:
    ledger = [call_in(CallPhase.UNKNOWN), call_in(CallPhase.ACCEPTED, 1)]

    with pytest.raises(Refusal, match="call_accepted"):
        check_purchase(job_for(consent), indexes=[0, 1], calls=ledger, staged=[])


def test_an_image_that_was_staged_is_never_bought_again() -> None:
    with pytest.raises(Refusal) as refusal:
        check_purchase(job_for(Consent.USER), indexes=[0, 1], calls=[], staged=[1])
    assert refusal.value.reason == "ALREADY_BOUGHT"


@pytest.mark.parametrize("indexes", [[], [2], [-1], [0, 5]])
def test_a_job_buys_only_images_that_it_has(indexes: list[int]) -> None:
    with pytest.raises(Refusal) as refusal:
        check_purchase(job_for(Consent.NONE), indexes=indexes, calls=[], staged=[])
    assert refusal.value.reason == "INVALID_INPUT"


def test_a_call_covers_its_own_indexes_only() -> None:
    allowed = check_purchase(job_for(Consent.NONE), indexes=[1], calls=[call_in(CallPhase.ACCEPTED, 0)], staged=[])

    assert allowed == (Consent.NONE, ())


def test_a_purchase_that_bought_nothing_leaves_the_older_outcome_open() -> None:
    ledger = [call_in(CallPhase.UNKNOWN, 0), call_in(CallPhase.NOT_SENT, 0)]

    assert needs_consent(job_for(Consent.NONE), calls=ledger, missing=[0])
    assert check_purchase(job_for(Consent.JOB), indexes=[0], calls=ledger, staged=[])[0] is Consent.JOB
    with pytest.raises(Refusal, match="charged"):
        check_purchase(job_for(Consent.NONE), indexes=[0], calls=ledger, staged=[])


@pytest.mark.parametrize("phase", CallPhase)
def test_a_retry_needs_consent_where_a_missing_image_may_have_been_paid(phase: CallPhase) -> None:
    job = job_for(Consent.NONE)

    assert needs_consent(job, calls=[call_in(phase)], missing=[0]) is (phase in PERHAPS_LOST)
    assert needs_consent(job, calls=[call_in(phase)], missing=[1]) is False


@pytest.mark.parametrize("phase", sorted(PERHAPS_LOST))
def test_what_can_be_fetched_needs_no_consent_until_it_is_known_to_be_gone(phase: CallPhase) -> None:
    call = replace(call_in(phase), operation_id="op", resumable=True)
    failed = job_in(State.FAILED)
    assert failed.failure is not None
    lost = replace(failed, failure=replace(failed.failure, reason=Reason.RESULT_LOST))

    assert needs_consent(failed, calls=[call], missing=[0]) is False
    assert needs_consent(failed, calls=[replace(call, resumable=False)], missing=[0]) is True
    assert needs_consent(lost, calls=[call], missing=[0]) is True


@pytest.mark.parametrize("consent", [Consent.JOB, Consent.USER])
@pytest.mark.parametrize("phase", CallPhase)
def test_a_consent_is_used_up_by_the_first_call_that_may_have_bought_the_image(
    phase: CallPhase, consent: Consent
) -> None:
    job = replace(job_for(consent), consented_at=NOW)
    bought_again = replace(call_in(phase, 0), consent=consent)

    left = Consent.NONE if phase in MAY_HAVE_BOUGHT else consent
    assert consent_for(job, 0, calls=[call_in(CallPhase.UNKNOWN), bought_again]) is left
    assert consent_for(job, 1, calls=[call_in(CallPhase.UNKNOWN), bought_again]) is consent
    assert may_pay_again(job, calls=[bought_again], staged=[1]) is (left is not Consent.NONE)


def test_a_users_next_consent_serves_one_more_purchase() -> None:
    under_the_first = replace(call_in(CallPhase.UNKNOWN), consent=Consent.USER)
    job = replace(job_for(Consent.USER), consented_at=NOW + timedelta(seconds=1))

    assert consent_for(job, 0, calls=[under_the_first]) is Consent.USER
    assert consent_for(replace(job, consented_at=None), 0, calls=[under_the_first]) is Consent.NONE


@pytest.mark.parametrize(
    ("ledger", "amount", "complete"),
    [
        ([], None, True),
        ([call_in(CallPhase.SUCCEEDED, cost=3), call_in(CallPhase.SUCCEEDED, cost=4)], 7, True),
        ([call_in(CallPhase.SUCCEEDED, cost=0)], 0, True),
        ([call_in(CallPhase.SUCCEEDED, cost=3), call_in(CallPhase.UNKNOWN)], 3, False),
        ([call_in(CallPhase.SUCCEEDED, cost=3), call_in(CallPhase.NOT_SENT)], 3, True),
        ([call_in(CallPhase.ACCEPTED)], None, False),
    ],
    ids=["none", "added up", "free is known", "unknown is not zero", "never sent is free", "open"],
)
def test_a_cost_is_what_is_known_and_says_whether_that_is_all(
    ledger: list[ProviderCall], amount: int | None, complete: bool
) -> None:
    cost = cost_of(ledger)

    assert (cost.amount_micros, cost.complete) == (amount, complete)
