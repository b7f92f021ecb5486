"""What must not be is refused by the domain, and by the database when the domain is not asked."""

import pytest
from sqlalchemy.exc import IntegrityError

from services.job.application.provider_calls import begin_provider_call
from services.job.domain.calls import CallOutcome, CallPhase, Consent
from services.job.domain.facts import LedgerSettled
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous
from tests.support.job_service.use_cases import JobUseCases, failed, generated, purchase_of, stored


def bulk_action(**values: str) -> str:
    """A statement that adds a bulk action with these columns, as SQL."""
    row = {
        "id": "'bulk_1'", "request": "'{}'", "requested_by": "'ops'", "state": "'running'", "matched": "0",
        "is_exact": "true", "done": "0", "skipped": "0", "refused": "'{}'", "created_at": "now()", "due_at": "now()",
    } | values  # fmt: skip
    return f"INSERT INTO bulk_actions ({', '.join(row)}) VALUES ({', '.join(row.values())})"


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


IMPOSSIBLE_ENDS = {
    "a_failure_names_its_stage": "failure_stage = 'resting'",
    "a_failure_has_one_of_six_codes": "failure_code = 'BAD'",
    "only_a_failed_job_has_a_failure": "failure_reason = NULL",
    "only_a_final_job_is_completed_at": "completed_at = NULL",
    "a_waiting_or_final_job_has_no_lease": (
        "lease_token = gen_random_uuid(), locked_by = 'w', locked_at = now(), lease_expires_at = now()"
    ),
}
IMPOSSIBLE_ROWS = {
    "an_open_breaker_knows_since_when_and_until": (
        "INSERT INTO breakers (provider, model, failures, code, reason, opened_at)"
        " VALUES ('p', 'm', 5, 'TEMPORARY', 'PROVIDER_UNAVAILABLE', now())"
    ),
    "a_pause_is_of_a_provider_a_tenant_or_the_queue": (
        "INSERT INTO pauses (kind, name, note, paused_by, paused_at) VALUES ('model', 'm', '', 'ops', now())"
    ),
    "the_queue_has_no_name": (
        "INSERT INTO pauses (kind, name, note, paused_by, paused_at) VALUES ('queue', 'q', '', 'ops', now())"
    ),
    "a_bulk_action_is_running_finished_or_canceled": bulk_action(state="'paused'", finished_at="now()"),
    "a_running_bulk_action_has_no_end": bulk_action(finished_at="now()"),
    "a_position_is_whole_or_absent": bulk_action(reached_id="'job_1'"),
    "a_call_is_in_one_of_eight_phases": "UPDATE provider_calls SET phase = 'perhaps'",
    "an_accepted_call_has_an_operation": "UPDATE provider_calls SET phase = 'accepted', settled_at = NULL",
    "an_open_call_is_not_settled": "UPDATE provider_calls SET settled_at = NULL",
    "consent_is_of_none_job_or_user": "UPDATE provider_calls SET consent = 'maybe'",
    "an_unknown_cost_is_null": "UPDATE provider_calls SET cost_micros = -1",
    "a_call_buys_something": "UPDATE provider_calls SET image_indexes = '{}'",
    "an_index_has_one_artifact": (
        "INSERT INTO artifacts"
        " SELECT (jsonb_populate_record(artifacts, jsonb_build_object('id', 'img_copy'))).* FROM artifacts"
    ),
    "a_stored_artifact_has_a_name": "UPDATE artifacts SET stored_at = now()",
    "an_artifact_is_of_a_call_of_its_job": "UPDATE artifacts SET call_id = 'call_none'",
    "a_digest_is_sha256": "UPDATE artifacts SET sha256 = 'none'",
    "an_attempt_generates_or_uploads": "UPDATE attempts SET stage = 'queued'",
    "an_ended_attempt_has_an_outcome": "UPDATE attempts SET outcome = NULL",
    "a_lease_token_serves_one_claim": (
        "INSERT INTO attempts"
        " SELECT (jsonb_populate_record(attempts, jsonb_build_object('claim_number', 9))).* FROM attempts"
    ),
    "a_wake_up_is_of_a_kind": "UPDATE outbox SET wake = 'dance'",
    "outbox_job_id_sequence_fkey": "UPDATE outbox SET sequence = 99",
    "job_events_pkey": "INSERT INTO job_events SELECT * FROM job_events",
    "a_deletion_is_of_one_bucket": "INSERT INTO deletions VALUES ('d', 'j', 'attic', 'j/', now())",
    "a_folder_is_deleted_once": (
        "INSERT INTO deletions VALUES ('d', 'j', 'staging', 'j/', now()), ('e', 'j', 'staging', 'j/', now())"
    ),
    "a_secret_has_256_bits": "INSERT INTO secrets VALUES ('short', '\\x00')",
    "there_is_one_feed": "INSERT INTO final_event_feed VALUES (false, now())",
    "a_sweep_is_of_one_bucket": "INSERT INTO sweeps VALUES ('attic', '', now(), NULL, NULL, 0, 0)",
    "a_budget_is_not_below_zero": "INSERT INTO tenant_limits VALUES ('acme', NULL, -1, NULL)",
    "a_period_is_a_day_or_a_month": "INSERT INTO tenant_spend VALUES ('acme', 'week', now(), 0, 0)",
    "what_is_spent_is_not_below_zero": "INSERT INTO tenant_spend VALUES ('acme', 'day', now(), 0, -1)",
    "a_reservation_is_whole_or_absent": "UPDATE provider_calls SET reserved_micros = 1",
    "a_job_asks_for_one_to_ten_images": "UPDATE jobs SET image_count = 11",
}


@pytest.mark.parametrize(("constraint", "change"), IMPOSSIBLE.items(), ids=IMPOSSIBLE)
def test_the_database_refuses_an_impossible_job(desk: JobUseCases, constraint: str, change: str) -> None:
    desk.generate()

    with pytest.raises(IntegrityError, match=constraint):
        desk.sql(f"UPDATE jobs SET {change}")


@pytest.mark.parametrize(("constraint", "change"), IMPOSSIBLE_ENDS.items(), ids=IMPOSSIBLE_ENDS)
def test_the_database_refuses_an_impossible_end(desk: JobUseCases, constraint: str, change: str) -> None:
    job, _ = desk.generate()
    desk.apply(failed(job, retryable=False))

    with pytest.raises(IntegrityError, match=constraint):
        desk.sql(f"UPDATE jobs SET {change}")


@pytest.mark.parametrize(("constraint", "statement"), IMPOSSIBLE_ROWS.items(), ids=IMPOSSIBLE_ROWS)
def test_the_database_refuses_impossible_rows_of_a_job(desk: JobUseCases, constraint: str, statement: str) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(generated(job, call))

    with pytest.raises(IntegrityError, match=constraint):
        desk.sql(statement)


def test_every_rule_of_the_database_is_tried_here(desk: JobUseCases) -> None:
    named = {
        row.conname
        for row in desk.sql(
            "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u')"
        )
    }
    # The key is the call's id; the other is what the cover of images follows.
    implied = {"an_idempotency_key_is_one_call", "a_phase_can_be_referenced"}

    assert named - implied <= IMPOSSIBLE.keys() | IMPOSSIBLE_ENDS.keys() | IMPOSSIBLE_ROWS.keys()


def test_the_cover_of_images_follows_the_phase_of_their_call(desk: JobUseCases) -> None:
    _, call = desk.generate(provider="paid", n=2)
    covered = "SELECT DISTINCT phase FROM provider_call_images WHERE call_id = :id"
    before = desk.sql(covered, id=call.id)[0].phase
    desk.sql("UPDATE provider_calls SET phase = 'failed', settled_at = now()")

    assert (before, [row.phase for row in desk.sql(covered, id=call.id)]) == ("intended", ["failed"])


def test_the_database_refuses_a_second_purchase(desk: JobUseCases) -> None:
    _, call = desk.generate(provider="paid")
    copy = "jsonb_build_object('id', 'call_copy', 'idempotency_key', 'call_copy')"
    desk.sql(f"INSERT INTO provider_calls SELECT (jsonb_populate_record(provider_calls, {copy})).* FROM provider_calls")

    with pytest.raises(IntegrityError, match="an_image_is_bought_once"):
        desk.sql(
            "INSERT INTO provider_call_images SELECT 'call_copy', job_id, image_index, phase, lifted"
            " FROM provider_call_images WHERE call_id = :id",
            id=call.id,
        )


@pytest.mark.parametrize("phase", [CallPhase.NOT_SENT, CallPhase.FAILED, CallPhase.REFUSED, CallPhase.CANCELED])
def test_an_image_that_was_surely_not_bought_may_be_bought(desk: JobUseCases, phase: CallPhase) -> None:
    job, call = desk.generate(provider="paid")
    outcome = CallOutcome(call_id=call.id, phase=phase)
    desk.apply(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))

    assert desk.begin(job).id != call.id


@pytest.mark.parametrize(
    ("phase", "reason"),
    [(None, "ALREADY_BOUGHT"), (CallPhase.UNKNOWN, "CONSENT_REQUIRED"), (CallPhase.SUCCEEDED, "CONSENT_REQUIRED")],
)
def test_an_image_that_may_have_been_bought_is_not_bought_again(
    desk: JobUseCases, phase: CallPhase | None, reason: str
) -> None:
    job, call = desk.generate(provider="paid")
    if phase is not None:
        outcome = CallOutcome(call_id=call.id, phase=phase)
        desk.apply(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))

    with pytest.raises(Refusal) as refusal:
        desk.begin(job)
    assert refusal.value.reason == reason


def test_consent_of_the_job_lifts_an_unknown_call(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid", on_ambiguous=OnAmbiguous.RETRY)
    desk.apply(LedgerSettled(job_id=job.id, calls=(CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN),), images=()))

    assert desk.begin(job).consent == "job"


def test_a_user_who_consents_may_pay_again_and_one_who_does_not_is_told(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(failed(job, retryable=False, calls=(CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN),)))
    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id)
    desk.retry(job.id, consents=True)
    [claimed] = desk.claim()

    assert refusal.value.reason == "CONSENT_REQUIRED"
    assert desk.begin(claimed.job).consent == "user"


def test_a_users_consent_serves_one_purchase(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(failed(job, retryable=False, calls=(CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN),)))
    desk.retry(job.id, consents=True)
    [claimed] = desk.claim()
    again = desk.begin(claimed.job, 0)
    desk.apply(failed(claimed.job, retryable=False, calls=(CallOutcome(call_id=again.id, phase=CallPhase.NOT_SENT),)))

    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id)
    assert (again.consent, refusal.value.reason) == (Consent.USER, "CONSENT_REQUIRED")


def test_a_call_that_is_asked_for_twice_under_one_id_is_one_call(desk: JobUseCases) -> None:
    desk.create(provider="paid")
    [claimed] = desk.claim()
    purchase = purchase_of(claimed.job)
    calls = [desk.run(lambda c: begin_provider_call(c, purchase)).call for _ in range(2)]

    assert calls[0].id == calls[1].id
    assert desk.job(claimed.job.id).sequence == 3


@pytest.mark.parametrize("final", ["completed", "failed"])
def test_a_job_that_is_otherwise_final_cannot_be_canceled(desk: JobUseCases, final: str) -> None:
    job = desk.upload()
    desk.apply(stored(job) if final == "completed" else failed(job, retryable=False))

    with pytest.raises(Refusal) as refusal:
        desk.cancel(job.id)
    assert refusal.value.reason == "WRONG_STATE"


def test_only_a_failed_job_is_retried(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(generated(job, call))

    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id)
    assert refusal.value.reason == "WRONG_STATE"


def test_a_retry_of_a_job_that_changed_is_refused(desk: JobUseCases) -> None:
    job, _ = desk.generate()
    desk.apply(failed(job, retryable=False))

    with pytest.raises(Refusal) as refusal:
        desk.retry(job.id, expected=job.sequence)
    assert refusal.value.reason == "SEQUENCE_CHANGED"


def test_another_tenants_job_is_not_there(desk: JobUseCases) -> None:
    job = desk.create().job

    for ask in (desk.get, desk.cancel):
        with pytest.raises(Refusal) as refusal:
            ask(job.id, tenant="other")
        assert refusal.value.reason == "JOB_NOT_FOUND"
