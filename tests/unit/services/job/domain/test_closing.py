"""How a claim ends: on to the upload, once more, or never."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from calotype.error_reasons import Code, Reason

from services.job.domain.calls import CallPhase, ProviderCall
from services.job.domain.claim_end import close_generating, end_of_claim, give_up
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job, JobWarning
from services.job.domain.states import State, Transition
from services.job.domain.transitions import Change, begin_call
from tests.unit.services.job.domain.test_calls import call_in
from tests.unit.services.job.domain.test_transitions import LATER, job_in

SPENT = {"generating/TEMPORARY": 2, "uploading/TEMPORARY": 2}


def failure(*, stage: Stage = Stage.GENERATING, retryable: bool = True, retry_after: float | None = None) -> Failure:
    """A failure that passes by itself, unless said otherwise."""
    return Failure(
        stage=stage,
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        message="It was away.",
        retryable=retryable,
        retry_after_seconds=retry_after,
    )


def ended(
    job: Job,
    why: Failure,
    *,
    calls: tuple[ProviderCall, ...] = (),
    staged: tuple[int, ...] = (),
    deferred: bool = False,
) -> Change:
    """What becomes of the job."""
    return end_of_claim(job, why, calls=calls, staged=staged, deferred=deferred, max_attempts=3, jitter=0.5, now=LATER)


def generating(*, images: int = 1, spent: bool = False) -> Job:
    """A job at a generator."""
    return replace(job_in(State.GENERATING), image_count=images, failure_counts=SPENT if spent else {})


def test_all_images_staged_go_on_without_a_word() -> None:
    change = close_generating(generating(images=2), staged={0, 1}, warnings=(), now=LATER)

    assert (change.transition, change.after.warnings, change.wake) == (Transition.GENERATED, (), "upload")


def test_every_missing_image_has_one_warning_and_the_workers_own_is_kept() -> None:
    own = JobWarning(reason=Reason.CONTENT_POLICY, message="The provider refused it.", image_index=1)
    after = close_generating(generating(images=3), staged={0}, warnings=(own,), now=LATER).after

    assert [(one.image_index, one.reason) for one in after.warnings] == [(1, "CONTENT_POLICY"), (2, "RESULT_LOST")]


@pytest.mark.parametrize("finish_by", [LATER - timedelta(seconds=1), LATER, LATER + timedelta(seconds=0.1)])
def test_what_would_be_tried_again_too_late_is_not(finish_by: datetime) -> None:
    change = ended(replace(generating(), finish_by=finish_by), failure())

    assert change.after.state is State.FAILED
    assert change.after.failure == Failure(
        stage=Stage.GENERATING,
        code=Code.TIMEOUT,
        reason=Reason.DEADLINE_EXCEEDED,
        message="The job could not be finished before its deadline. Before that: It was away.",
        retryable=True,
    )


def test_what_can_be_tried_again_in_time_is() -> None:
    change = ended(replace(generating(), finish_by=LATER + timedelta(hours=1)), failure())

    assert change.after.state is State.QUEUED


def test_what_is_paid_for_and_goes_on_is_followed_past_the_deadline() -> None:
    job = replace(generating(images=2), finish_by=LATER)

    assert ended(job, failure(), calls=(call_in(CallPhase.ACCEPTED),), staged=(1,)).after.state is State.QUEUED
    assert ended(job, failure(), calls=(call_in(CallPhase.UNKNOWN),)).after.state is State.FAILED


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING, State.GENERATING])
def test_a_job_that_is_given_up_keeps_what_it_has(state: State) -> None:
    job = replace(job_in(state), image_count=2)
    kept, failed = (give_up(job, failure(), staged=staged, now=LATER).after for staged in ((1,), ()))

    assert (kept.state, [one.image_index for one in kept.warnings], kept.queued_at) == (State.UPLOADING, [0], None)
    assert (failed.state, failed.failure) == (State.FAILED, failure())


def test_images_that_were_had_in_time_go_on_without_the_others() -> None:
    change = ended(replace(generating(images=2), finish_by=LATER), failure(), staged=(0,))

    assert change.after.state is State.UPLOADING
    assert [warning.reason for warning in change.after.warnings] == ["DEADLINE_EXCEEDED"]


def test_a_failure_for_good_keeps_its_reason_however_late_it_is() -> None:
    change = ended(replace(generating(), finish_by=LATER), failure(retryable=False))

    assert change.after.failure is not None
    assert change.after.failure.reason == "PROVIDER_UNAVAILABLE"


def test_a_success_without_images_is_a_failure_of_persisting() -> None:
    after = close_generating(generating(), staged=(), warnings=(), now=LATER).after

    assert after.state is State.FAILED
    assert after.failure is not None
    assert (after.failure.stage, after.failure.retryable) == (Stage.PERSISTING, False)


def test_a_failure_within_its_budget_is_tried_again_and_counted() -> None:
    after = ended(generating(), failure()).after

    assert (after.state, dict(after.failure_counts)) == (State.QUEUED, {"generating/TEMPORARY": 1})
    assert (after.run_at - LATER).total_seconds() == 1.0


def test_images_that_are_staged_wait_for_the_others_while_there_is_budget() -> None:
    assert ended(generating(images=2), failure(), staged=(0,)).after.state is State.QUEUED


@pytest.mark.parametrize(
    ("job", "why"), [(generating(images=2, spent=True), failure()), (generating(images=2), failure(retryable=False))]
)
def test_the_last_failure_lets_what_was_had_go_on(job: Job, why: Failure) -> None:
    after = ended(job, why, staged=(0,)).after

    assert after.state is State.UPLOADING
    assert [(one.image_index, one.reason) for one in after.warnings] == [(1, "PROVIDER_UNAVAILABLE")]
    assert "It was away." in after.warnings[0].message


def test_the_last_failure_without_images_fails_the_job_with_its_cause() -> None:
    why = failure(stage=Stage.PROCESSING)
    after = ended(generating(spent=True), why).after

    assert (after.state, after.failure) == (State.FAILED, why)
    assert after.failure_counts["generating/TEMPORARY"] == 3


def test_a_deferral_waits_as_told_and_costs_neither_attempt_nor_budget() -> None:
    job = generating(spent=True)
    after = ended(job, failure(retry_after=20), deferred=True).after

    assert (after.state, after.attempt_count) == (State.QUEUED, job.attempt_count - 1)
    assert after.failure_counts == SPENT | {"deferrals": 1}
    assert (after.run_at - LATER).total_seconds() == 21.0


def test_deferrals_in_a_row_wait_longer_and_longer_up_to_a_bound() -> None:
    job, waits = generating(), []
    for _ in range(6):
        after = ended(job, replace(failure(), code=Code.RATE_LIMIT), deferred=True).after
        waits.append((after.run_at - LATER).total_seconds())
        job = replace(generating(), failure_counts=after.failure_counts)

    assert waits == [2.5, 5, 10, 20, 20, 20]
    assert begin_call(job, now=LATER).after.failure_counts == {}


def test_a_failed_upload_stays_an_upload_until_its_budget_is_spent() -> None:
    job, why = job_in(State.UPLOADING), failure(stage=Stage.UPLOADING)
    again, last = ended(job, why, staged=(0,)), ended(replace(job, failure_counts=SPENT), why, staged=(0,))

    assert (again.transition, again.after.state) == (Transition.REQUEUE_UPLOAD, State.UPLOADING)
    assert (last.after.state, last.after.failure) == (State.FAILED, why)


def test_a_generators_failures_do_not_eat_the_uploads_budget() -> None:
    job = replace(job_in(State.UPLOADING), failure_counts={"generating/TEMPORARY": 3})

    assert ended(job, failure(stage=Stage.UPLOADING), staged=(0,)).after.state is State.UPLOADING
