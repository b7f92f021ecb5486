"""A worker that lost its lease moves nothing, and settles its own call all the same."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.sql import Connection, text
from services.job.application import apply_facts, claims, user_actions
from services.job.application.provider_calls import begin_provider_call, record_operation, resend_provider_call
from services.job.domain.calls import CallOutcome, CallPhase, WorkerReport
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed, fence_of, generated, not_sent, purchase_of, stored
from tests.support.patience import PATIENCE

#: Locks by id, as renewals do: these run at the same time.
DUE_NOW = """
WITH locked AS MATERIALIZED (SELECT id FROM jobs WHERE state = 'queued' ORDER BY id FOR UPDATE)
UPDATE jobs SET run_at = clock_timestamp() - interval '1 minute' FROM locked WHERE jobs.id = locked.id
"""


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


# PostgreSQL reads a row anew after a wait for its lock, and joins it with the rows that it had chosen before.


def renew(connection: Connection, desk: JobUseCases, *held: Job) -> list[str]:
    """Outcomes of a renewal of these claims."""
    return [outcome for _, outcome in claims.renew_leases(connection, list(map(fence_of, held)), limits=desk.limits)]


def test_a_renewal_that_waits_for_a_change_of_its_job_is_made(desk: JobUseCases) -> None:
    held, other = desk.generate()[0], desk.generate()[0]
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 hour'")
    renewed = behind(
        desk,
        lambda c: c.execute(text("UPDATE jobs SET warnings = '[]', updated_at = clock_timestamp()")),
        lambda c: renew(c, desk, other, held),
    )

    assert renewed.result() == ["renewed", "renewed"]
    assert desk.sql("SELECT count(*) AS n FROM jobs WHERE lease_expires_at > clock_timestamp()")[0].n == 2


def test_a_renewal_that_waits_for_another_claim_renews_nothing_of_it(desk: JobUseCases) -> None:
    job, _ = desk.generate()

    def take_over(connection: Connection) -> None:
        lose_lease(desk.on(connection), job)
        connection.execute(text("UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '1 second'"))

    renewed = behind(desk, take_over, lambda c: renew(c, desk, job))

    assert renewed.result() == ["lost"]
    [row] = desk.sql("SELECT lease_expires_at < clock_timestamp() + interval '2 seconds' AS untouched FROM jobs")
    assert row.untouched


def test_a_renewal_that_waits_for_a_cancel_says_so(desk: JobUseCases) -> None:
    job, _ = desk.generate()
    renewed = behind(desk, lambda c: user_actions.cancel_job(c, "acme", job.id), lambda c: renew(c, desk, job))

    assert renewed.result() == ["canceled"]


def test_a_worker_that_holds_a_job_again_keeps_its_later_claim_of_it(desk: JobUseCases) -> None:
    job, _ = desk.generate()
    current = lose_lease(desk, job)
    for held in ([job, current], [current, job]):
        renewed = behind(
            desk,
            lambda c: c.execute(text("UPDATE jobs SET updated_at = clock_timestamp()")),
            lambda c, held=held: renew(c, desk, *held),
        )

        assert dict(zip([one.claim_number for one in held], renewed.result(), strict=True)) == {1: "lost", 2: "renewed"}


def test_a_claim_that_is_renewed_while_another_one_is_made_is_lost_or_kept_and_never_both(desk: JobUseCases) -> None:
    """Renewals and claims in many threads; each renewal's outcome is that of the claim that the job had."""
    jobs = [desk.generate()[0] for _ in range(4)]
    ends = threading.Event()

    def take_over_again_and_again() -> int:
        count = 0
        while not ends.is_set():
            # A claim leaves out a job that a renewal has locked: it is claimed in a later round.
            for job in (desk.job(job.id) for job in jobs):
                if job.lease is not None:
                    desk.release(job)
            desk.sql(DUE_NOW)
            count += len(desk.claim(len(jobs)))
        return count

    def renew_all(_: int) -> list[tuple[str, bool]]:
        held = [job for job in (desk.job(job.id) for job in jobs) if job.lease is not None]

        def work(connection: Connection) -> list[tuple[str, bool]]:
            outcomes = renew(connection, desk, *held)
            # Locked until commit where they were renewed: nobody else has moved them.
            found = connection.execute(text("SELECT id, lease_token FROM jobs")).all()
            tokens = {row.id: str(row.lease_token) for row in found}
            return [
                (outcome, job.lease is not None and tokens[job.id] == str(job.lease.token))
                for job, outcome in zip(held, outcomes, strict=True)
            ]

        return list(desk.run(work))

    with ThreadPoolExecutor(4) as threads:
        taking = threads.submit(take_over_again_and_again)
        try:
            seen = [pair for pairs in threads.map(renew_all, range(150)) for pair in pairs]
        finally:
            ends.set()
        assert taking.result(PATIENCE) > 0
    assert {outcome for outcome, _ in seen} == {"renewed", "lost"}
    assert all(is_current for outcome, is_current in seen if outcome == "renewed")
    assert not any(is_current for outcome, is_current in seen if outcome == "lost")
