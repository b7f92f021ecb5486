"""Every transition from every state: legal as the table says, refused else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from calotype.error_reasons import Code, Reason

from services.job.domain import transitions
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job, Lease, ProviderCancel
from services.job.domain.requests import JobRequest
from services.job.domain.states import FINAL, LEGAL, State, Transition
from services.job.domain.transitions import Change, IllegalTransition

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
FAILURE = Failure(stage=Stage.GENERATING, code=Code.PERMANENT, reason=Reason("X"), message="", retryable=False)
ACTS: dict[Transition, Any] = {
    Transition.CLAIM: lambda job: transitions.claim(job, worker="w", token=uuid4(), lease_seconds=30, now=LATER),
    Transition.BEGIN_CALL: lambda job: transitions.begin_call(job, now=LATER),
    Transition.GENERATED: lambda job: transitions.generated(job, warnings=(), now=LATER),
    Transition.CLAIM_UPLOAD: lambda job: transitions.claim_upload(
        job, worker="u", token=uuid4(), lease_seconds=30, now=LATER
    ),
    Transition.STORED: lambda job: transitions.stored(job, now=LATER),
    Transition.REQUEUE: lambda job: transitions.requeue(job, delay_seconds=5, counts={"a": 1}, now=LATER),
    Transition.REQUEUE_UPLOAD: lambda job: transitions.requeue_upload(job, delay_seconds=5, counts={}, now=LATER),
    Transition.FAIL: lambda job: transitions.fail(job, FAILURE, now=LATER),
    Transition.CANCEL: lambda job: transitions.cancel(job, provider_cancel=ProviderCancel.PENDING, now=LATER),
    Transition.USER_RETRY: lambda job: transitions.user_retry(job, resume_upload=False, consents=False, now=LATER),
    Transition.SETTLE: lambda job: transitions.settle(job, outcome=ProviderCancel.CONFIRMED, now=LATER),
}

#: The table once more, by hand, as the design draws it: whoever changes one is asked about the other.
DRAWN = """
job.claimed: queued>processing
job.generating: processing>generating generating>generating
job.uploading: queued>uploading processing>uploading generating>uploading
job.upload_claimed: uploading>uploading
job.completed: uploading>completed
job.requeued: processing>queued generating>queued
job.upload_requeued: uploading>uploading
job.failed: queued>failed processing>failed generating>failed uploading>failed
job.canceled: queued>canceled processing>canceled generating>canceled uploading>canceled
job.retried: failed>queued failed>uploading
job.settled: queued>queued processing>processing generating>generating uploading>uploading completed>completed \
failed>failed canceled>canceled
"""


def job_in(state: State) -> Job:
    """A job as it stands in a state."""
    job = transitions.submit(
        job_id="job_1",
        tenant="acme",
        request=JobRequest(prompt="x"),
        provider="p",
        model="m",
        traceparent=None,
        now=NOW,
    )
    lease = Lease(worker="w", token=uuid4(), locked_at=NOW, expires_at=LATER)
    held = state in (State.PROCESSING, State.GENERATING)
    return replace(
        job,
        state=state,
        attempt_count=1,
        lease=lease if held else None,
        queued_at=NOW if state is State.QUEUED else None,
        generating_since=NOW if held else None,
        uploading_since=NOW if state is State.UPLOADING else None,
        completed_at=NOW if state in FINAL else None,
        failure=FAILURE if state is State.FAILED else None,
        provider_cancel=ProviderCancel.PENDING if state is State.CANCELED else None,
    )


def changed(transition: Transition, state: State) -> Change:
    """The transition from the state."""
    change: Change = ACTS[transition](job_in(state))
    return change


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("transition", ACTS)
def test_a_transition_is_made_exactly_where_the_table_allows_it(transition: Transition, state: State) -> None:
    if state in LEGAL[transition]:
        change = changed(transition, state)

        assert change.after.state in LEGAL[transition][state]
        assert change.after.sequence == change.before.sequence + 1
        assert change.after.updated_at == LATER
    else:
        with pytest.raises(IllegalTransition, match=str(state)):
            changed(transition, state)


def test_the_table_is_what_was_drawn() -> None:
    drawn = {
        (kind, *way.split(">"))
        for line in DRAWN.strip().splitlines()
        for kind, _, ways in [line.partition(": ")]
        for way in ways.split()
    }
    table = {
        (str(transition), str(source), str(target))
        for transition, ways in LEGAL.items()
        for source, targets in ways.items()
        for target in targets
    }

    assert table == drawn


def test_every_transition_but_submit_is_in_the_table() -> None:
    assert set(LEGAL) == set(Transition) - {Transition.SUBMIT} == set(ACTS)


@pytest.mark.parametrize("transition", [Transition.FAIL, Transition.CANCEL])
@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING, State.GENERATING, State.UPLOADING])
def test_an_end_clears_lease_and_timers(transition: Transition, state: State) -> None:
    after = changed(transition, state).after

    assert (after.lease, after.queued_at, after.generating_since, after.uploading_since) == (None, None, None, None)
    assert after.completed_at == LATER


def test_a_claim_counts_and_starts_the_clock() -> None:
    after = changed(Transition.CLAIM, State.QUEUED).after

    assert (after.claim_number, after.attempt_count, after.queued_seconds) == (1, 2, 10.0)
    assert (after.started_at, after.generating_since, after.queued_at) == (LATER, LATER, None)
    assert after.lease is not None
    assert after.lease.expires_at == LATER + timedelta(seconds=30)


def test_an_upload_claim_is_no_attempt() -> None:
    after = changed(Transition.CLAIM_UPLOAD, State.UPLOADING).after

    assert (after.claim_number, after.attempt_count) == (1, 1)


def test_a_requeue_waits_and_an_uncounted_one_gives_its_attempt_back() -> None:
    job = job_in(State.GENERATING)
    counted = transitions.requeue(job, delay_seconds=5, counts={}, now=LATER)
    uncounted = transitions.requeue(job, delay_seconds=0, counts={}, counted=False, now=LATER)

    assert (counted.after.attempt_count, counted.wake) == (1, None)
    assert counted.after.run_at == LATER + timedelta(seconds=5)
    assert (uncounted.after.attempt_count, uncounted.wake) == (0, "generate")


def test_a_user_retry_starts_budgets_anew() -> None:
    job = replace(job_in(State.FAILED), failure_counts={"generating/TIMEOUT": 3}, start_by=NOW, finish_by=NOW)
    after = transitions.user_retry(job, resume_upload=False, consents=True, now=LATER).after

    assert (after.retry_count, after.failure, dict(after.failure_counts)) == (1, None, {})
    assert (after.start_by, after.finish_by, after.completed_at, after.user_consents) == (None, None, None, True)


def test_a_late_settlement_leaves_the_state() -> None:
    after = changed(Transition.SETTLE, State.CANCELED).after

    assert (after.state, after.provider_cancel) == (State.CANCELED, ProviderCancel.CONFIRMED)
