"""Facts come twice, late, out of order and together; the ledger takes all of them, the state only those that hold."""

from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.facts import CallAccepted, CallSettled, LedgerSettled
from services.job.domain.failures import Stage
from services.job.domain.jobs import ProviderCancel
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed, fence_of, generated, image_of, stored, succeeded


def phases(desk: JobUseCases) -> list[str]:
    """Phases of all calls, oldest first."""
    return [row.phase for row in desk.sql("SELECT phase FROM provider_calls ORDER BY created_at, id")]


def test_a_fact_that_comes_twice_counts_once(desk: JobUseCases) -> None:
    job, call = desk.generate()
    fact = generated(job, call)
    folded = [desk.apply(fact), desk.apply(fact)]

    assert [(one.moved, one.late) for one in folded] == [(1, 0), (0, 1)]
    assert desk.job(job.id).sequence == job.sequence + 1


def test_a_fact_that_comes_twice_in_one_batch_counts_once(desk: JobUseCases) -> None:
    job, call = desk.generate()
    folded = desk.apply(generated(job, call), generated(job, call))

    assert (folded.moved, folded.late) == (1, 1)


def test_two_facts_of_one_job_in_one_batch_are_folded_in_their_order(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    accepted = CallAccepted(job_id=job.id, call_id=call.id, operation_id="op")
    folded = desk.apply(accepted, generated(job, call))
    [row] = desk.sql("SELECT phase, operation_id FROM provider_calls")

    assert (folded.moved, folded.late) == (1, 1)
    assert (row.phase, row.operation_id) == ("succeeded", "op")


def test_an_acceptance_that_comes_after_the_end_still_names_the_operation(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.apply(generated(job, call))
    desk.apply(CallAccepted(job_id=job.id, call_id=call.id, operation_id="op"))
    [row] = desk.sql("SELECT phase, operation_id FROM provider_calls")

    assert (row.phase, row.operation_id) == ("succeeded", "op")


def test_a_late_success_makes_an_unknown_call_certain_and_never_the_other_way(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    for phase in (CallPhase.UNKNOWN, CallPhase.SUCCEEDED, CallPhase.UNKNOWN, CallPhase.FAILED):
        outcome = CallOutcome(call_id=call.id, phase=phase)
        desk.apply(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))

    assert phases(desk) == ["succeeded"]


def test_a_late_success_is_used_by_the_next_claim_without_a_call(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.release(job)
    desk.apply(generated(job, call))
    [claimed] = desk.claim()

    assert [image.image_index for image in claimed.images] == [0]
    assert [one.phase for one in claimed.calls] == [CallPhase.SUCCEEDED]


def test_images_of_a_canceled_job_are_not_kept(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    desk.apply(generated(job, call))

    assert desk.job(job.id).state is State.CANCELED
    assert phases(desk) == ["succeeded"]
    assert desk.sql("SELECT count(*) AS n FROM artifacts")[0].n == 0
    assert [row.prefix for row in desk.sql("SELECT prefix FROM deletions")] == [f"{job.id}/"]


def test_a_fact_of_a_job_that_is_not_there_harms_nobody(desk: JobUseCases) -> None:
    job, call = desk.generate()
    stranger = replace(generated(job, call), fence=replace(generated(job, call).fence, job_id="job_none"), images=())
    folded = desk.apply(stranger, generated(job, call))

    assert (folded.moved, folded.unknown) == (1, 1)


def test_a_temporary_failure_is_tried_again_until_its_budget_is_spent(desk: JobUseCases) -> None:
    desk.create()
    states = []
    for _ in range(3):
        desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
        [claimed] = desk.claim()
        desk.apply(failed(claimed.job, stage=Stage.PROCESSING))
        states.append(desk.job(claimed.job.id).state)
    job = desk.job(claimed.job.id)

    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    assert job.failure is not None
    assert (job.failure.stage, job.attempt_count) == (Stage.PROCESSING, 3)


@pytest.mark.parametrize("stage", [Stage.PROCESSING, Stage.GENERATING, Stage.PERSISTING])
def test_the_stage_is_the_one_that_caught_the_failure(desk: JobUseCases, stage: Stage) -> None:
    job, _ = desk.generate()
    desk.apply(failed(job, stage=stage, code=Code.PERMANENT, reason=Reason.RESULT_MISMATCH, retryable=False))
    failure = desk.job(job.id).failure

    assert failure is not None
    assert failure.stage is stage


def test_what_was_had_goes_on_with_a_warning_for_what_was_not(desk: JobUseCases) -> None:
    job, call = desk.generate(n=2)
    refusal = failed(
        job,
        code=Code.PERMANENT,
        reason=Reason.CONTENT_POLICY,
        retryable=False,
        calls=(succeeded(call),),
        images=(image_of(job, call, 0),),
    )
    desk.apply(refusal)
    after = desk.job(job.id)

    assert after.state is State.UPLOADING
    assert [(one.reason, one.image_index) for one in after.warnings] == [("CONTENT_POLICY", 1)]


def test_a_partial_result_completes_with_its_warning(desk: JobUseCases) -> None:
    job, call = desk.generate(n=2)
    desk.apply(generated(job, call, 0))
    [claimed] = desk.claim_uploads()
    desk.apply(replace(stored(claimed.job), names={0: "jobs/x/0.png"}))
    seen = desk.get(job.id)

    assert seen.job.state is State.COMPLETED
    assert [image.image_index for image in seen.artifacts] == [0]
    assert [one.image_index for one in seen.job.warnings] == [1]


def test_a_success_without_any_image_fails_as_a_mismatch(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(replace(generated(job, call), images=()))
    failure = desk.job(job.id).failure

    assert failure is not None
    assert (failure.stage, failure.reason) == (Stage.PERSISTING, "RESULT_MISMATCH")


def test_a_deferral_counts_as_no_failure(desk: JobUseCases) -> None:
    desk.create()
    [claimed] = desk.claim()
    desk.apply(failed(claimed.job, stage=Stage.PROCESSING, code=Code.RATE_LIMIT, deferred=True))
    job = desk.job(claimed.job.id)

    assert (job.state, job.attempt_count, dict(job.failure_counts)) == (State.QUEUED, 0, {"deferrals": 1})


def test_a_failed_upload_is_tried_again_as_an_upload(desk: JobUseCases) -> None:
    job = desk.upload(provider="paid")
    desk.apply(failed(job, stage=Stage.UPLOADING, reason=Reason.STORAGE_UNAVAILABLE))
    after = desk.job(job.id)

    assert (after.state, after.attempt_count) == (State.UPLOADING, 1)
    assert phases(desk) == ["succeeded"]


def test_a_user_retry_of_a_failed_upload_resumes_the_upload(desk: JobUseCases) -> None:
    job = desk.upload(provider="paid")
    desk.apply(failed(job, stage=Stage.UPLOADING, code=Code.AUTH_ERROR, reason=Reason.STORAGE_DENIED, retryable=False))
    seen = desk.retry(job.id)

    assert seen.job.state is State.UPLOADING
    assert (seen.job.retry_count, seen.job.failure, dict(seen.job.failure_counts)) == (1, None, {})


def test_a_user_retry_of_a_failed_upload_buys_nothing_though_an_image_could_not_be_had(desk: JobUseCases) -> None:
    job, call = desk.generate(n=2, provider="paid")
    # Both were bought, one of them came.
    desk.apply(generated(job, call, 0, cost=3))
    [claimed] = desk.claim_uploads()
    desk.apply(failed(claimed.job, stage=Stage.UPLOADING, reason=Reason.STORAGE_DENIED, retryable=False))
    shown = desk.get(job.id)
    seen = desk.retry(job.id)

    assert shown.retry_needs_consent is False
    assert seen.job.state is State.UPLOADING
    assert [warning.image_index for warning in seen.job.warnings] == [1]


def test_an_upload_that_leaves_an_image_out_fails_as_a_mismatch(desk: JobUseCases) -> None:
    job = desk.upload(n=2)
    desk.apply(replace(stored(job), names={0: "jobs/x/0.png"}))
    failure = desk.job(job.id).failure

    assert failure is not None
    assert (failure.stage, failure.reason) == (Stage.PERSISTING, "RESULT_MISMATCH")


def test_costs_of_all_calls_add_up(desk: JobUseCases) -> None:
    desk.create(n=2, provider="paid")
    [claimed] = desk.claim()
    first, second = desk.begin(claimed.job, 0), desk.begin(claimed.job, 1)
    job = desk.job(claimed.job.id)
    fact = generated(job, first, 0, cost=3)
    desk.apply(replace(fact, calls=(succeeded(first, cost=3), succeeded(second, cost=4))))

    assert desk.get(job.id).cost.amount_micros == 7


def test_what_a_provider_says_after_a_cancel_changes_no_state(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    canceled = desk.cancel(job.id).job
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED)
    desk.apply(CallSettled(job_id=job.id, outcome=outcome, provider_cancel=ProviderCancel.CONFIRMED))
    after = desk.job(job.id)

    assert (after.state, after.provider_cancel) == (State.CANCELED, ProviderCancel.CONFIRMED)
    assert after.sequence == canceled.sequence + 1


def test_a_settlement_that_comes_twice_is_told_once(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED)
    fact = CallSettled(job_id=job.id, outcome=outcome, provider_cancel=ProviderCancel.CONFIRMED)
    folded = [desk.apply(fact), desk.apply(fact)]

    assert [(one.moved, one.late) for one in folded] == [(1, 0), (0, 1)]
    assert len(desk.sql("SELECT 1 FROM job_events WHERE type = 'job.settled'")) == 1


def test_a_settlement_of_a_deleted_job_reaches_the_ledger_alone(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    desk.delete(job.id)
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.SUCCEEDED, cost_micros=5)
    desk.apply(CallSettled(job_id=job.id, outcome=outcome, provider_cancel=ProviderCancel.TOO_LATE))

    assert phases(desk) == ["succeeded"]
    assert desk.sql("SELECT 1 FROM job_events WHERE type = 'job.settled'") == []


@pytest.mark.parametrize("end", ["canceled", "failed and deleted", "completed"])
def test_images_that_come_for_a_job_that_is_over_are_deleted(desk: JobUseCases, end: str) -> None:
    job, call = desk.generate(n=2, provider="paid")
    if end == "canceled":
        desk.cancel(job.id)
    elif end == "completed":
        desk.apply(generated(job, call, 0))
        [claimed] = desk.claim_uploads()
        desk.apply(replace(stored(claimed.job), names={0: "jobs/x/0.png"}))
    else:
        desk.apply(failed(job, retryable=False))
        desk.delete(job.id)
    desk.sql("DELETE FROM deletions")
    late = LedgerSettled(job_id=job.id, calls=(succeeded(call),), images=(image_of(job, call, 1),))
    desk.apply(late)

    assert [row.prefix for row in desk.sql("SELECT prefix FROM deletions")] == [f"{job.id}/"]
    assert desk.sql("SELECT 1 FROM artifacts WHERE image_index = 1") == []


@pytest.mark.parametrize("teller", ["the worker that began it", "the one that settles"])
def test_what_a_canceled_job_had_staged_goes_once_its_open_call_has_ended(desk: JobUseCases, teller: str) -> None:
    job, call = desk.generate(n=2, provider="paid")
    desk.apply(LedgerSettled(job_id=job.id, calls=(), images=(image_of(job, call, 0),)))
    desk.cancel(job.id)
    # Until then what is staged is the evidence of what the call made.
    before = desk.sql("SELECT 1 FROM deletions")
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED)
    if teller == "the one that settles":
        desk.apply(CallSettled(job_id=job.id, outcome=outcome, provider_cancel=ProviderCancel.CONFIRMED))
    else:
        desk.apply(LedgerSettled(job_id=job.id, calls=(outcome,), images=()))

    assert before == []
    assert [row.prefix for row in desk.sql("SELECT prefix FROM deletions")] == [f"{job.id}/"]


def test_an_image_that_the_job_did_not_ask_for_is_not_kept(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(generated(job, call, 0, 1))

    assert [row.image_index for row in desk.sql("SELECT image_index FROM artifacts")] == [0]
    assert desk.job(job.id).state is State.UPLOADING


def test_a_fact_of_a_job_that_never_was_is_counted_and_harms_nothing(desk: JobUseCases) -> None:
    job, call = desk.generate()
    stranger = replace(generated(job, call), fence=replace(fence_of(job), job_id="job_unknown"), calls=(), images=())
    folded = desk.apply(stranger, generated(job, call))

    assert (folded.unknown, folded.moved) == (1, 1)


def test_what_contradicts_a_success_in_the_same_batch_changes_nothing(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.FAILED)
    late = LedgerSettled(job_id=job.id, calls=(outcome,), images=())
    folded = desk.apply(generated(job, call), failed(job, calls=(outcome,)), late)

    assert (folded.moved, folded.late) == (1, 2)
    assert (desk.job(job.id).state, phases(desk)) == (State.UPLOADING, ["succeeded"])


def test_of_two_ends_of_one_claim_the_first_told_holds(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    folded = desk.apply(
        failed(job, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),)), generated(job, call)
    )
    after = desk.job(job.id)

    assert (folded.moved, folded.late) == (1, 1)
    assert (after.state, phases(desk)) == (State.QUEUED, ["failed"])
    # The image is there all the same: nothing that was made is thrown away.
    assert len(desk.sql("SELECT 1 FROM artifacts")) == 1
