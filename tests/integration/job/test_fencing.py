"""A worker that lost its lease moves nothing, and settles its own call all the same."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection

from services.job.application import apply_facts, claims, user_actions
from services.job.application.provider_calls import begin_provider_call, record_operation, resend_provider_call
from services.job.domain.calls import CallOutcome, CallPhase, WorkerReport
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed, fence_of, generated, not_sent, purchase_of, stored
from tests.support.patience import PATIENCE


def lose_lease(desk: JobUseCases, job: Job) -> Job:
    """Another worker has the job now; returns it as that one holds it."""
    desk.release(job)
    [claimed] = desk.claim()
    assert claimed.job.id == job.id
    return claimed.job


def behind(desk: JobUseCases, first: Any, second: Any) -> Any:
    """Run `first` and hold its locks until `second` waits for them; returns what `second` came to."""
    locked = threading.Event()
    go_on = threading.Event()

    def hold(connection: Connection) -> None:
        first(connection)
        locked.set()
        assert go_on.wait(PATIENCE)

    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(desk.run, hold)
        assert locked.wait(PATIENCE)
        waiting = threads.submit(desk.run, second)
        desk.await_blocked()
        go_on.set()
        holding.result()
        return waiting


@pytest.mark.parametrize("fact", [generated, lambda job, call: failed(job)], ids=["generated", "failed"])
def test_a_late_generator_moves_nothing(desk: JobUseCases, fact: Any) -> None:
    job, call = desk.generate()
    current = lose_lease(desk, job)
    folded = desk.apply(fact(job, call))

    assert (folded.moved, folded.late) == (0, 1)
    assert desk.job(job.id) == current


def test_a_late_generator_settles_its_own_call(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    lose_lease(desk, job)
    desk.apply(generated(job, call, cost=40_000))
    [row] = desk.sql("SELECT phase, cost_micros FROM provider_calls")

    assert (row.phase, row.cost_micros) == (CallPhase.SUCCEEDED, 40_000)
    assert desk.sql("SELECT count(*) AS n FROM artifacts")[0].n == 1


def test_a_late_uploader_completes_nothing(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.release(job)
    desk.apply(stored(job))

    assert desk.job(job.id).state is State.UPLOADING


def test_a_late_release_hands_nothing_back_and_still_says_what_was_not_sent(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    current = lose_lease(desk, job)
    desk.release(job, not_sent(call))
    [row] = desk.sql("SELECT phase FROM provider_calls")

    after = desk.job(job.id)
    assert (after.state, after.lease, after.claim_number) == (current.state, current.lease, current.claim_number)
    assert row.phase == CallPhase.NOT_SENT


def test_a_release_speaks_for_the_calls_of_its_own_claim_only(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    current = lose_lease(desk, job)
    desk.release(current, not_sent(call))
    [row] = desk.sql("SELECT phase FROM provider_calls")

    assert row.phase == CallPhase.INTENDED
    assert desk.job(job.id).state is State.QUEUED


def test_an_operation_is_written_down_whoever_holds_the_job(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    current = lose_lease(desk, job)
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={"url": "u"}))
    [row] = desk.sql("SELECT phase, operation_id FROM provider_calls")

    assert (row.phase, row.operation_id) == (CallPhase.ACCEPTED, "op")
    assert desk.job(job.id) == current


def test_a_free_call_is_sent_again_under_its_own_key_by_the_present_holder_only(desk: JobUseCases) -> None:
    job, call = desk.generate()
    current = lose_lease(desk, job)
    with pytest.raises(Refusal) as refusal:
        desk.run(lambda c: resend_provider_call(c, fence_of(job), call.id, WorkerReport()))
    again = desk.run(lambda c: resend_provider_call(c, fence_of(current), call.id, WorkerReport())).call

    assert refusal.value.reason == "LEASE_LOST"
    assert (again.id, again.idempotency_key, again.claim_number) == (call.id, call.idempotency_key, 2)
    assert desk.sql("SELECT count(*) AS n FROM provider_calls")[0].n == 1


def test_a_paid_call_is_never_sent_again(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    current = lose_lease(desk, job)

    with pytest.raises(Refusal) as refusal:
        desk.run(lambda c: resend_provider_call(c, fence_of(current), call.id, WorkerReport()))
    assert refusal.value.reason == "ALREADY_BOUGHT"


def test_a_late_generator_begins_no_call(desk: JobUseCases) -> None:
    desk.create()
    [claimed] = desk.claim()
    lose_lease(desk, claimed.job)

    with pytest.raises(Refusal) as refusal:
        desk.begin(claimed.job)
    assert refusal.value.reason == "LEASE_LOST"
    assert desk.sql("SELECT count(*) AS n FROM provider_calls")[0].n == 0


def test_a_claim_that_waited_for_a_folds_lock_sees_the_settled_call(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    token = job.lease.token if job.lease else None
    assert token is not None
    fact = failed(job, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),))
    again = behind(
        desk,
        lambda c: apply_facts.apply_facts(c, [fact], limits=desk.limits),
        lambda c: claims.claim_jobs(c, worker="w", tokens=[token], providers=["paid"], limits=desk.limits),
    )

    # The claim asked again with its token waited, and no longer finds the job under it.
    assert again.result() == []
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    [claimed] = desk.claim()
    assert [one.phase for one in claimed.calls] == [CallPhase.FAILED]


def test_a_cancel_that_waits_for_a_call_sees_it(desk: JobUseCases) -> None:
    desk.create(provider="paid")
    [claimed] = desk.claim()
    canceled = behind(
        desk,
        lambda c: begin_provider_call(c, purchase_of(claimed.job)),
        lambda c: user_actions.cancel_job(c, "acme", claimed.job.id),
    )

    assert canceled.result().snapshot.job.provider_cancel == "pending"


def test_a_call_that_waits_for_a_cancel_is_not_made(desk: JobUseCases) -> None:
    desk.create(provider="paid")
    [claimed] = desk.claim()
    begun = behind(
        desk,
        lambda c: user_actions.cancel_job(c, "acme", claimed.job.id),
        lambda c: begin_provider_call(c, purchase_of(claimed.job)),
    )

    with pytest.raises(Refusal) as refusal:
        begun.result()
    assert refusal.value.reason == "LEASE_LOST"
    assert desk.sql("SELECT count(*) AS n FROM provider_calls")[0].n == 0
