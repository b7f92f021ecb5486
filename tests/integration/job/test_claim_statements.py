"""A claim takes few statements, as many for one job as for many; one that finds nothing takes two."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from services.job.application.claims import Claimed
from services.job.store import claim_locks
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.use_cases import JobUseCases, generated, open_transaction
from tests.support.patience import PATIENCE


def count(claim: Callable[[], list[Claimed]]) -> tuple[int, int]:
    """Claims; returns the number of jobs and that of statements."""
    with counted_statements() as sent:
        claimed = claim()
    return len(claimed), len(sent)


@pytest.mark.parametrize("jobs", [1, 16])
def test_a_claim_takes_few_statements(desk: JobUseCases, jobs: int) -> None:
    for number in range(jobs):
        desk.create(tenant=f"tenant-{number % 8}")
    # Something has left its generator, so that a load is counted again.
    desk.sql("INSERT INTO load_changes (tenant) VALUES ('tenant-0')")
    with counted_statements() as sent:
        claimed = desk.claim(jobs)
    assert (len(claimed), len(sent)) == (jobs, 8)
    for one in claimed:
        call = desk.begin(one.job)
        desk.apply(generated(desk.job(one.job.id), call))

    assert count(lambda: desk.claim_uploads(16)) == (jobs, 5)


def test_a_claim_that_finds_nothing_takes_two_statements(desk: JobUseCases) -> None:
    desk.upload()

    assert count(lambda: desk.claim(16)) == (0, 2)
    assert count(lambda: desk.claim_uploads(16)) == (0, 2)


@pytest.mark.parametrize("what", ["a repeated claim", "a result to fetch"])
def test_what_buys_nothing_does_not_wait_for_the_lock_of_claiming(desk: JobUseCases, what: str) -> None:
    job, call = desk.generate(provider="paid")
    assert job.lease is not None
    tokens = [job.lease.token, uuid4()][: 1 if what == "a repeated claim" else 2]
    if what == "a result to fetch":
        desk.sql(
            "UPDATE provider_calls SET phase = 'accepted', operation_id = 'op', accepted_at = now() WHERE id = :id",
            id=call.id,
        )
        desk.release(job)
    with open_transaction(desk, claim_locks.lock_claiming), ThreadPoolExecutor(1) as threads:
        claimed = threads.submit(desk.claim, tokens=tokens).result(PATIENCE)

    assert [one.job.id for one in claimed] == [job.id]


def test_a_repeated_upload_claim_takes_further_jobs_with_its_unused_tokens(desk: JobUseCases) -> None:
    first = desk.upload()
    assert first.lease is not None
    job, call = desk.generate()
    desk.apply(generated(job, call))
    claimed = desk.claim_uploads(tokens=[uuid4(), first.lease.token])

    assert [one.job.id for one in claimed] == [first.id, job.id]
    assert [len(one.images) for one in claimed] == [1, 1]
