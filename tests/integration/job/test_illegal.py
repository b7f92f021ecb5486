"""What must not be is refused by the domain, and by the database when the domain is not asked."""

import pytest
from sqlalchemy.exc import IntegrityError

from services.job.application.buying import begin_provider_call
from services.job.domain.calls import CallOutcome, Phase
from services.job.domain.facts import LedgerSettled
from services.job.domain.failures import Refusal
from services.job.domain.requests import OnAmbiguous
from tests.support.jobs import JobDesk, failed, generated, purchase_of, stored

IMPOSSIBLE = {
    "a_state_is_one_of_seven": (
        "state = 'resting', generating_since = NULL,"
        " lease_token = NULL, locked_by = NULL, locked_at = NULL, lease_expires_at = NULL"
    ),
    "a_lease_is_whole_or_absent": "locked_by = NULL",
    "a_generating_worker_holds_a_lease": (
        "lease_token = NULL, locked_by = NULL, locked_at = NULL, lease_expires_at = NULL"
    ),
    "a_waiting_or_final_job_has_no_lease": "state = 'queued', queued_at = now(), generating_since = NULL",
    "only_a_final_job_is_completed_at": "completed_at = now()",
    "only_a_failed_job_has_a_failure": (
        "failure_stage = 'generating', failure_code = 'UNKNOWN', failure_reason = 'X', failure_message = '',"
        " failure_retryable = false"
    ),
    "only_a_canceled_job_cancels_at_the_provider": "provider_cancel = 'pending'",
    "a_queued_job_knows_since_when": "queued_at = now()",
    "a_generating_job_knows_since_when": "generating_since = NULL",
    "an_uploading_job_knows_since_when": "uploading_since = now()",
    "counters_do_not_fall_below_zero": "attempt_count = -1",
}


@pytest.mark.parametrize(("constraint", "change"), IMPOSSIBLE.items(), ids=IMPOSSIBLE)
def test_the_database_refuses_an_impossible_job(desk: JobDesk, constraint: str, change: str) -> None:
    desk.generate()

    with pytest.raises(IntegrityError, match=constraint):
        desk.sql(f"UPDATE jobs SET {change}")


def test_the_database_refuses_a_second_purchase(desk: JobDesk) -> None:
    _, call = desk.generate(provider="paid")
    copy = "jsonb_build_object('id', 'call_copy', 'idempotency_key', 'call_copy')"
    desk.sql(f"INSERT INTO provider_calls SELECT (jsonb_populate_record(provider_calls, {copy})).* FROM provider_calls")

    with pytest.raises(IntegrityError, match="an_image_is_bought_once"):
        desk.sql(
            "INSERT INTO provider_call_images SELECT 'call_copy', job_id, image_index, phase, lifted"
            " FROM provider_call_images WHERE call_id = :id",
            id=call.id,
        )


@pytest.mark.parametrize("phase", [Phase.NOT_SENT, Phase.FAILED, Phase.REFUSED, Phase.CANCELED])
def test_an_image_that_was_surely_not_bought_may_be_bought(desk: JobDesk, phase: Phase) -> None:
    job, call = desk.generate(provider="paid")
    outcome = CallOutcome(call_id=call.id, phase=phase)
    desk.fold(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))

    assert desk.begin(job).id != call.id


@pytest.mark.parametrize(
    ("phase", "reason"),
    [(None, "ALREADY_BOUGHT"), (Phase.UNKNOWN, "CONSENT_REQUIRED"), (Phase.SUCCEEDED, "CONSENT_REQUIRED")],
)
def test_an_image_that_may_have_been_bought_is_not_bought_again(
    desk: JobDesk, phase: Phase | None, reason: str
) -> None:
    job, call = desk.generate(provider="paid")
    if phase is not None:
        outcome = CallOutcome(call_id=call.id, phase=phase)
        desk.fold(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))

    with pytest.raises(Refusal) as refusal:
        desk.begin(job)
    assert refusal.value.reason == reason


def test_consent_of_the_job_lifts_an_unknown_call(desk: JobDesk) -> None:
    job, call = desk.generate(provider="paid", on_ambiguous=OnAmbiguous.RETRY)
    desk.fold(LedgerSettled(job_id=job.id, calls=(CallOutcome(call_id=call.id, phase=Phase.UNKNOWN),), images=()))

    assert desk.begin(job).consent == "job"


def test_a_user_who_consents_may_pay_again_and_one_who_does_not_is_told(desk: JobDesk) -> None:
    job, call = desk.generate(provider="paid")
    desk.fold(failed(job, retryable=False, calls=(CallOutcome(call_id=call.id, phase=Phase.UNKNOWN),)))
    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id)
    desk.retry(job.id, consents=True)
    [claimed] = desk.claim()

    assert refusal.value.reason == "CONSENT_REQUIRED"
    assert desk.begin(claimed.job).consent == "user"


def test_a_call_that_is_asked_for_twice_under_one_id_is_one_call(desk: JobDesk) -> None:
    desk.create(provider="paid")
    [claimed] = desk.claim()
    purchase = purchase_of(claimed.job)
    calls = [desk.run(lambda c: begin_provider_call(c, purchase)) for _ in range(2)]

    assert calls[0].id == calls[1].id
    assert desk.job(claimed.job.id).sequence == 3


@pytest.mark.parametrize("final", ["completed", "failed"])
def test_a_job_that_is_otherwise_final_cannot_be_canceled(desk: JobDesk, final: str) -> None:
    job = desk.upload()
    desk.fold(stored(job) if final == "completed" else failed(job, retryable=False))

    with pytest.raises(Refusal) as refusal:
        desk.cancel(job.id)
    assert refusal.value.reason == "WRONG_STATE"


def test_only_a_failed_job_is_retried(desk: JobDesk) -> None:
    job, call = desk.generate()
    desk.fold(generated(job, call))

    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id)
    assert refusal.value.reason == "WRONG_STATE"


def test_a_retry_of_a_job_that_changed_is_refused(desk: JobDesk) -> None:
    job, _ = desk.generate()
    desk.fold(failed(job, retryable=False))

    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id, expected=job.sequence)
    assert refusal.value.reason == "SEQUENCE_CHANGED"


def test_another_tenants_job_is_not_there(desk: JobDesk) -> None:
    job = desk.create().job

    for ask in (desk.get, desk.cancel):
        with pytest.raises(Refusal) as refusal:
            ask(job.id, tenant="other")
        assert refusal.value.reason == "JOB_NOT_FOUND"
