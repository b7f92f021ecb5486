"""What reading one job, a page of a tenant's jobs, and the queue costs does not grow with the jobs that are stored."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import queries
from services.job.domain.jobs import Job, QueuePosition
from services.job.domain.timeouts import StageTimeouts
from services.job.store import listing, provider_spend, queue, stale, throughput
from services.job.store.job_walk import MAX_EXAMINED
from services.job.store.listing import Filters
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.many_jobs import copy, rows_read
from tests.support.job_service.use_cases import JobUseCases, failed, use_cases_at

AT_WORKERS = ("processing", "generating", "uploading")


@pytest.fixture(scope="module")
def full(module_database: str) -> Iterator[tuple[JobUseCases, Job]]:
    """A tenant with many jobs in its queue and many that have ended, another one, and an old failed job."""
    with use_cases_at(module_database) as desk:
        job, _ = desk.generate(provider="paid", end_user="eve", metadata={"album": "7"})
        desk.apply(failed(job, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False))
        queued = desk.create().job.id
        copy(desk, queued, queue.MAX_COUNTED // 2 + 200, name="waits_", changes='{"end_user": "u"}')
        ended = '{"state": "canceled", "queued_at": null, "completed_at": "2026-01-01T00:00:00Z", "end_user": "u"}'
        canceled = ended.replace('"end_user"', '"provider_cancel": "not_needed", "end_user"')
        copy(desk, queued, 500, name="canceled_", changes=canceled)
        copy(desk, queued, 1_500, name="done_", changes=ended.replace("canceled", "completed"))
        common = '{"failure_code": "TIMEOUT", "failure_stage": "uploading", "provider": "p", "end_user": "u"}'
        copy(desk, job.id, 1_500, name="failed_", changes=common.replace("}", ', "metadata": {}}'))
        copy(desk, queued, 1_000, name="other_", changes='{"tenant": "other"}')
        desk.sql("UPDATE jobs SET created_at = created_at - interval '1 year' WHERE id = :id", id=job.id)
        desk.sql("ANALYZE jobs")
        yield desk, desk.job(job.id)


def filters_of(job: Job, chosen: dict[str, Any]) -> Filters:
    """Filters of the tenant; `created_before`: a time after the old job and before the others."""
    before = {"created_before": job.created_at + timedelta(days=30)} if "created_before" in chosen else {}
    return Filters(tenant="acme", **chosen | before)


@pytest.mark.parametrize(
    ("chosen", "is_indexed"),
    [
        ({"end_user": "eve"}, True),
        ({"provider": "paid"}, False),
        ({"failure_stage": "generating"}, False),
        ({"failure_code": "AUTH_ERROR"}, False),
        ({"metadata": {"album": "7"}}, False),
        ({"created_before": True}, True),
        ({"end_user": "eve", "metadata": {"album": "7"}}, True),
        ({"states": ("failed", "completed"), "provider": "paid"}, False),
    ],
    ids=str,
)
def test_an_old_job_is_found_by_each_filter_in_pages_that_read_little(
    full: tuple[JobUseCases, Job], chosen: dict[str, Any], is_indexed: bool
) -> None:
    desk, job = full
    wanted, found, reads, token = filters_of(job, chosen), [], [], "first"
    while token:
        token = token.removeprefix("first")
        page = partial(queries.list_jobs, filters=wanted, page_size=100, page_token=token)
        read, (snapshots, token) = rows_read(desk, page)
        found += [snapshot.job.id for snapshot in snapshots]
        reads.append(read)

    assert found == [job.id]
    assert max(reads) < (30 if is_indexed else 2 * MAX_EXAMINED + 100)
    assert len(reads) == 1 if is_indexed else 1 < len(reads) < 20


def test_a_page_with_few_matches_is_of_one_moment(full: tuple[JobUseCases, Job]) -> None:
    desk, job = full
    wanted = filters_of(job, {"provider": "paid"})
    with counted_statements() as sent:
        found = desk.run(partial(listing.page, filters=wanted, after=None, size=20))

    assert (found.jobs, len(sent)) == ([], 1)
    assert found.next is not None


@pytest.mark.parametrize(
    "chosen",
    [
        *({}, {"states": ("queued",)}, {"states": ("failed",)}, {"states": ("canceled", "queued")}),
        *({"states": ("completed",)}, {"end_user": "u"}, {"failure_code": "TIMEOUT"}),
    ],
    ids=str,
)
def test_a_page_of_many_jobs_that_match_reads_only_them(full: tuple[JobUseCases, Job], chosen: dict[str, Any]) -> None:
    desk, job = full
    page = partial(queries.list_jobs, filters=filters_of(job, chosen), page_size=20)
    read, (first, token) = rows_read(desk, partial(page, page_token=""))
    read_next, (second, _) = rows_read(desk, partial(page, page_token=token))

    created = [snapshot.job.created_at for snapshot in (*first, *second)]
    assert len(created) == 40
    assert created == sorted(created, reverse=True)
    assert max(read, read_next) < 100


@pytest.mark.parametrize(
    "chosen", [{"states": AT_WORKERS}, {"states": ("queued",), "failure_code": "TIMEOUT"}], ids=str
)
def test_states_that_no_job_has_are_known_at_once(full: tuple[JobUseCases, Job], chosen: dict[str, Any]) -> None:
    desk, job = full
    list_page = partial(queries.list_jobs, filters=filters_of(job, chosen), page_size=20, page_token="")
    assert rows_read(desk, list_page) == (0, ([], ""))


def test_a_position_is_counted_up_to_a_bound(full: tuple[JobUseCases, Job]) -> None:
    desk, _ = full
    waiting = "SELECT id FROM jobs WHERE tenant = 'acme' AND state = 'queued' ORDER BY priority, run_at, id"
    for place in (1, 100, 101, 5_000):
        job = desk.job(desk.sql(f"{waiting} LIMIT 1 OFFSET {place - 1}")[0].id)
        read, position = rows_read(desk, partial(listing.queue_position, job=job))

        assert position == QueuePosition(position=min(place, 101), is_exact=place <= 100)
        assert read <= 101


def test_an_operators_counts_are_bounded_and_say_so(full: tuple[JobUseCases, Job]) -> None:
    desk, _ = full
    read, counted = rows_read(desk, queue.count)

    acme, other = counted.tenants["acme"], counted.tenants["other"]
    share = queue.MAX_COUNTED // 2
    assert (acme.queued, acme.is_exact, other.queued, other.is_exact) == (share + 1, False, 1_000, True)
    assert (counted.total.queued, counted.total.is_exact) == (share + 1_001, False)
    oldest = desk.sql("SELECT min(queued_at) AS at FROM jobs")[0].at
    assert counted.total.oldest_queued_at == acme.oldest_queued_at == oldest
    assert read < queue.MAX_COUNTED


def test_throughput_reads_the_jobs_that_ended_last(full: tuple[JobUseCases, Job]) -> None:
    desk, _ = full
    read, found = rows_read(desk, throughput.read)
    # The 2,000 jobs that ended in an earlier hour are not read.
    assert sum(minute.failed + minute.canceled + minute.completed for minute in found.minutes) == 1_501
    assert read < 1_520

    desk.sql("UPDATE jobs SET completed_at = clock_timestamp() WHERE state IN ('completed', 'canceled')")
    read, found = rows_read(desk, throughput.read)
    assert sum(minute.failed + minute.canceled + minute.completed for minute in found.minutes) == throughput.MAX_COUNTED
    assert read < throughput.MAX_COUNTED + 20


def test_the_monitor_reads_late_jobs_only(full: tuple[JobUseCases, Job]) -> None:
    desk, _ = full
    limits = StageTimeouts()
    read, found = rows_read(desk, partial(stale.find, limits=limits, limit=50))
    assert (found, read) == ([], 0)

    late = desk.sql("SELECT id FROM jobs WHERE state = 'queued' AND tenant = 'other' ORDER BY id LIMIT 3")
    past = "clock_timestamp() - interval '1 s'"
    for row, change in zip(
        late, (f"finish_by = {past}", f"start_by = {past}", "queued_at = '2020-01-01'"), strict=True
    ):
        desk.sql(f"UPDATE jobs SET {change} WHERE id = :id", id=row.id)
    read, found = rows_read(desk, partial(stale.find, limits=limits, limit=50))
    assert {job_id for job_id, _ in found} == {row.id for row in late}
    assert read < 20


def test_spend_of_a_provider_reads_its_last_calls_of_today(full: tuple[JobUseCases, Job]) -> None:
    desk, _ = full
    # Last in this module: whoever reads calls later reads these, too.
    for age in ("0 s", "1 day"):
        desk.sql(
            """INSERT INTO provider_calls SELECT copied.* FROM provider_calls AS original
            CROSS JOIN generate_series(1, 1500) AS number
            CROSS JOIN LATERAL jsonb_populate_record(original, jsonb_build_object(
                'id', original.id || :age || number, 'idempotency_key', original.id || :age || number,
                'created_at', clock_timestamp() - CAST(:age AS interval), 'billed_to', NULL, 'billed_on', NULL
            )) AS copied WHERE original.provider = 'paid' AND length(original.id) = 37""",
            age=age,
        )
    desk.sql("ANALYZE provider_calls")
    read, spent = rows_read(desk, partial(provider_spend.today, providers=["paid", "procedural"]))

    assert spent["paid"].calls_without_cost == provider_spend.MAX_COUNTED
    assert read == provider_spend.MAX_COUNTED
