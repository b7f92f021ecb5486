"""Operators find jobs of every tenant; what a search reads does not grow with the jobs that are stored."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import job_search
from services.job.domain.job_filter import JobFilter
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import job_search as store
from services.job.store.job_walk import MAX_EXAMINED
from tests.support.job_service.many_jobs import copy, rows_read
from tests.support.job_service.use_cases import JobUseCases, failed, use_cases_at


def search(desk: JobUseCases, *, size: int = 100, token: str = "", **filters: Any) -> tuple[list[str], str]:
    """Ids of a page and the next token."""
    wanted = JobFilter(**filters)
    found, after = desk.run(lambda c: job_search.list_any_jobs(c, wanted, page_size=size, page_token=token))
    return [snapshot.job.id for snapshot in found], after


def failed_job(desk: JobUseCases, **request: Any) -> Job:
    """A failed job whose call has an operation."""
    job, call = desk.generate(**request)
    desk.sql("UPDATE provider_calls SET operation_id = :id WHERE id = :call", id=f"op-{job.id}", call=call.id)
    desk.apply(failed(job, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False))
    return desk.job(job.id)


def test_each_filter_and_all_together_hold(desk: JobUseCases) -> None:
    job = failed_job(desk, tenant="acme", provider="paid", end_user="eve")
    desk.create(tenant="other")
    desk.cancel(desk.create().job.id)
    filters: dict[str, Any] = {
        "job_id": job.id,
        "operation_id": f"op-{job.id}",
        "end_user": "eve",
        "reason": "PROVIDER_AUTH",
        "code": "AUTH_ERROR",
        "provider": "paid",
        "states": (State.FAILED,),
        "created_before": job.updated_at,
    }

    for name, value in filters.items():
        if name != "created_before":
            assert search(desk, **{name: value}) == ([job.id], ""), name
    assert search(desk, tenant="acme", **filters) == ([job.id], "")
    assert search(desk, tenant="other", **filters) == ([], "")
    assert search(desk, **filters | {"created_before": job.created_at}) == ([], "")
    assert len(search(desk)[0]) == 3
    assert len(search(desk, tenant="acme")[0]) == 2
    assert len(search(desk, tenant="acme", states=(State.CANCELED, State.FAILED))[0]) == 2
    assert len(search(desk, states=(State.QUEUED, State.CANCELED))[0]) == 2


def test_pages_show_every_job_once_whatever_index_they_walk(desk: JobUseCases) -> None:
    jobs = [desk.create(tenant=f"t{number % 2}", end_user="eve").job.id for number in range(6)]
    desk.cancel(jobs[0], tenant="t0")
    desk.cancel(jobs[3], tenant="t1")
    for filters in ({}, {"end_user": "eve"}, {"states": tuple(State)}):
        found, token = search(desk, size=2, **filters)
        while token:
            more, token = search(desk, size=2, token=token, **filters)
            found += more
        assert found == jobs[::-1], filters


def test_deleted_jobs_are_not_found(desk: JobUseCases) -> None:
    job = desk.create(end_user="eve").job.id
    desk.cancel(job)
    desk.delete(job)
    for filters in ({}, {"job_id": job}, {"tenant": "acme"}, {"states": (State.CANCELED,)}):
        assert search(desk, **filters) == ([], ""), filters


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"reason": "PROVIDER_AUTH", "states": (State.QUEUED,)}, "reason"),
        ({"code": "TIMEOUT", "states": (State.COMPLETED,)}, "code"),
        ({"end_user": "e" * 129}, "end_user"),
        ({"operation_id": "a\nb"}, "operation_id"),
        ({"states": (State.QUEUED,) * 21}, "statuses"),
    ],
)
def test_filters_that_contradict_each_other_or_are_too_long_are_refused(
    desk: JobUseCases, filters: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        search(desk, **filters)
    assert [violation.field for violation in refusal.value.violations] == [field]


def test_a_token_of_other_filters_or_of_a_tenants_list_is_refused(desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create()
    _, token = search(desk, size=1)
    with pytest.raises(Refusal, match="page_token"):
        search(desk, token=token, tenant="acme")


@pytest.fixture(scope="module")
def full(module_database: str) -> Iterator[tuple[JobUseCases, Job]]:
    """12,500 jobs of others, most of them completed, and an old failed job of a tenant."""
    with use_cases_at(module_database) as desk:
        job = failed_job(desk, tenant="acme", provider="paid", end_user="eve")
        queued = desk.create(tenant="other").job.id
        for number in range(3):
            changes = f"""{{"tenant": "t{number}", "end_user": "u{number}", "state": "completed", "queued_at": null,
                "completed_at": "2026-01-01T00:00:00Z", "provider": "p{number}"}}"""
            copy(desk, queued, 2_500, name=f"done{number}_", changes=changes)
        copy(desk, queued, 2_500, name="waits_", changes='{"tenant": "t0"}')
        timed_out = '{"tenant": "t0", "failure_code": "TIMEOUT", "failure_reason": "STAGE_TIMEOUT", "end_user": "u0"}'
        copy(desk, job.id, 2_500, name="failed_", changes=timed_out)
        desk.sql("UPDATE jobs SET created_at = created_at - interval '1 year' WHERE id = :id", id=job.id)
        desk.sql("ANALYZE jobs, provider_calls")
        yield desk, desk.job(job.id)


@pytest.mark.parametrize(
    "name",
    [
        *("job_id", "operation_id", "end_user", "reason", "code"),
        *("tenant", "tenant and state", "tenant and end_user", "created_before"),
    ],
)
def test_a_rare_job_is_found_at_once(full: tuple[JobUseCases, Job], name: str) -> None:
    desk, job = full
    filters: dict[str, Any] = {
        "job_id": {"job_id": job.id},
        "operation_id": {"operation_id": f"op-{job.id}"},
        "end_user": {"end_user": "eve"},
        "reason": {"reason": "PROVIDER_AUTH"},
        "code": {"code": "AUTH_ERROR"},
        "tenant": {"tenant": "acme"},
        "tenant and state": {"tenant": "acme", "states": (State.QUEUED, State.GENERATING, State.FAILED)},
        "tenant and end_user": {"tenant": "acme", "end_user": "eve"},
        "created_before": {"created_before": job.updated_at, "states": (State.FAILED,)},
    }[name]
    if name == "created_before":
        filters["created_before"] = job.created_at.replace(year=job.created_at.year + 1, day=1)
    read, result = rows_read(desk, partial(store.find, wanted=JobFilter(**filters), after=None, size=20))

    assert [job_id for _, job_id in result.found] == [job.id]
    assert read < 30


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"states": (State.COMPLETED,)},
        {"states": (State.QUEUED, State.FAILED)},
        {"tenant": "t1"},
        {"tenant": "t0", "states": (State.FAILED,)},
        {"end_user": "u2"},
        {"reason": "STAGE_TIMEOUT"},
        {"code": "TIMEOUT"},
    ],
    ids=str,
)
def test_a_page_among_many_reads_little(full: tuple[JobUseCases, Job], filters: dict[str, Any]) -> None:
    desk, _ = full
    read, result = rows_read(desk, partial(store.find, wanted=JobFilter(**filters), after=None, size=20))

    assert len(result.found) == 20
    assert read < 60
    after = result.found[-1]
    read, later = rows_read(desk, partial(store.find, wanted=JobFilter(**filters), after=after, size=20))
    assert max(later.found) < after
    assert read < 60


@pytest.mark.parametrize(
    "filters",
    [
        {"provider": "none"},
        {"tenant": "t0", "provider": "none"},
        {"end_user": "u0", "reason": "PROVIDER_AUTH"},
        {"code": "TIMEOUT", "tenant": "acme"},
    ],
    ids=str,
)
def test_a_combination_that_matches_nothing_is_examined_in_bounded_steps(
    full: tuple[JobUseCases, Job], filters: dict[str, Any]
) -> None:
    desk, _ = full
    read, result = rows_read(desk, partial(store.find, wanted=JobFilter(**filters), after=None, size=20))

    assert result.found == []
    assert read < 2 * MAX_EXAMINED + 100
    steps = 1
    while result.next is not None:
        result = desk.run(partial(store.find, wanted=JobFilter(**filters), after=result.next, size=20))
        steps += 1
    assert 2 < steps < 40
