"""Calls that outlive their job are followed to their end by one worker each; folders are deleted until empty."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from services.job.application import claiming
from services.job.application.buying import record_operation
from services.job.domain.calls import CallOutcome, Phase, ProviderCall
from services.job.domain.facts import CallSettled
from services.job.domain.jobs import ProviderCancel
from services.job.store import deletions, settlements
from services.job.store.settlements import Settlement
from tests.support.jobs import JobDesk, failed, stored

LATER = "UPDATE provider_calls SET settle_expires_at = clock_timestamp() - interval '1 s'"


def claim(desk: JobDesk, count: int = 1, *, providers: tuple[str, ...] = ("paid",)) -> list[Settlement]:
    """Hold open calls as a generator."""
    tokens = [uuid4() for _ in range(count)]
    return desk.run(
        lambda c: settlements.claim(c, tokens=tokens, providers=providers, seconds=desk.limits.lease_seconds)
    )


def accepted(desk: JobDesk) -> ProviderCall:
    """An operation under way at the provider."""
    _, call = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    return call


def test_a_canceled_jobs_operation_is_to_be_canceled_at_the_provider(desk: JobDesk) -> None:
    call = accepted(desk)
    assert claim(desk) == []
    desk.cancel(call.job_id)
    [held] = claim(desk)

    assert (held.call.id, held.call.operation_id, held.cancel) == (call.id, "op", True)
    assert claim(desk) == []


def test_a_failed_jobs_operation_is_followed_without_a_cancel(desk: JobDesk) -> None:
    call = accepted(desk)
    desk.fold(failed(desk.job(call.job_id), retryable=False))

    assert [held.cancel for held in claim(desk)] == [False]


def test_a_call_that_may_still_be_under_way_is_left_to_its_worker_for_one_lease(desk: JobDesk) -> None:
    job, _ = desk.generate(provider="paid")
    desk.cancel(job.id)
    assert claim(desk) == []
    desk.sql("UPDATE jobs SET completed_at = clock_timestamp() - interval '31 s'")

    assert [held.call.phase for held in claim(desk)] == [Phase.INTENDED]


def test_a_call_is_followed_for_a_day_since_it_began_whoever_follows_it(desk: JobDesk) -> None:
    desk.cancel(accepted(desk).job_id)
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '23 hours'")
    [held] = claim(desk)
    assert held.seconds_left == pytest.approx(3600, abs=60)
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '2 hours', settle_expires_at = now()")

    assert [held.seconds_left for held in claim(desk)] == [0]


def test_only_a_workers_own_providers_are_settled(desk: JobDesk) -> None:
    desk.cancel(accepted(desk).job_id)

    assert claim(desk, providers=("procedural",)) == []


def test_two_workers_never_settle_one_call(desk: JobDesk) -> None:
    for _ in range(12):
        desk.cancel(accepted(desk).job_id)
    with ThreadPoolExecutor(4) as threads:
        held = [one for found in threads.map(lambda _: claim(desk, 6), range(4)) for one in found]
    held += claim(desk, 12)

    assert len(held) == len({one.call.id for one in held}) == len({one.token for one in held}) == 12


def test_a_worker_that_vanished_is_followed_by_another_and_told_so(desk: JobDesk) -> None:
    desk.cancel(accepted(desk).job_id)
    [first] = claim(desk)
    renewed = _renew(desk, first.token)
    desk.sql(LATER)
    [second] = claim(desk)

    assert renewed == [(str(first.token), "renewed")]
    assert _renew(desk, first.token) == [(str(first.token), "lost")]
    assert second.call.id == first.call.id


def test_a_call_that_ended_is_nobodys_work_any_more(desk: JobDesk) -> None:
    call = accepted(desk)
    desk.cancel(call.job_id)
    [held] = claim(desk)
    outcome = CallOutcome(call_id=call.id, phase=Phase.CANCELED, cost_micros=0)
    desk.fold(CallSettled(job_id=call.job_id, outcome=outcome, provider_cancel=ProviderCancel.CONFIRMED))

    assert claim(desk) == []
    assert _renew(desk, held.token) == [(str(held.token), "lost")]


def test_a_folder_comes_up_again_until_somebody_says_that_it_is_empty(desk: JobDesk) -> None:
    job = desk.upload()
    desk.fold(stored(job))
    [first] = _claim_deletions(desk)
    while_held = _claim_deletions(desk)
    desk.sql("UPDATE deletions SET due_at = clock_timestamp()")
    [again] = _claim_deletions(desk)
    done = [_say_empty(desk, one) for one in (first, again)]

    assert (first.prefix, while_held) == (f"{job.id}/", [])
    # The first worker's word is of an earlier look: what came since might not be gone.
    assert done == [False, True]
    assert desk.sql("SELECT 1 FROM deletions") == []


def test_a_deleted_job_lets_go_of_both_its_folders(desk: JobDesk) -> None:
    job = desk.upload()
    desk.fold(stored(job))
    desk.delete(job.id)

    assert [one.prefix for one in _claim_deletions(desk, bucket="public")] == [f"jobs/{job.id}/"]
    assert [one.prefix for one in _claim_deletions(desk)] == [f"{job.id}/"]


def _renew(desk: JobDesk, token: UUID) -> list[tuple[str, str]]:
    answers: list[tuple[str, str]] = desk.run(lambda c: claiming.renew_settlements(c, [token], limits=desk.limits))
    return answers


def _say_empty(desk: JobDesk, one: deletions.Deletion) -> bool:
    forgotten: bool = desk.run(lambda c: deletions.done(c, one.id, one.lease_token))
    return forgotten


def _claim_deletions(desk: JobDesk, *, bucket: str = "staging") -> list[deletions.Deletion]:
    return desk.run(lambda c: deletions.claim(c, bucket=bucket, tokens=[uuid4()], seconds=60))
