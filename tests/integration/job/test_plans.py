"""Plans of the statements that a job's way takes: none reads a table of jobs from end to end."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from common.postgres import open_pool
from common.sql import Connection, text, transaction
from services.job.application import call_groups, queries, stale_jobs, user_actions
from services.job.domain.timeouts import StageTimeouts
from services.job.store import outbox
from services.job.store.listing import Filters
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, T, failed, purchase_of, stored

#: Tables that grow with the number of jobs.
LARGE = {"jobs", "job_events", "provider_calls", "provider_call_images", "artifacts", "attempts", "idempotency_keys"}
#: Indexes of few jobs, or of jobs in the order in which the first of them are taken.
SHORT = {"queued_jobs_claimed_before", "jobs_to_upload", "jobs_at_a_generator"}


@pytest.fixture
def on_one(database_url: str) -> Iterator[JobUseCases]:
    """The use cases on one connection, which keeps its prepared statements."""
    engine = open_pool(database_url, pool_size=1, max_overflow=0)

    def run(work: Callable[[Connection], T]) -> T:
        with transaction(engine) as connection:
            return work(connection)

    desk = JobUseCases(run, StageTimeouts())
    desk.register()
    yield desk
    engine.dispose()


def take_all_ways(desk: JobUseCases) -> None:
    """Jobs that complete, fail, are canceled, deleted, retried and rescued; and everything that looks at them."""
    limited = replace(PAID, name="limited", max_concurrency=9, requests_per_minute=99)
    desk.register(FREE, PAID, limited)
    desk.create(provider="limited")
    [claimed] = desk.claim(only=("limited",))
    desk.run(lambda c: call_groups.begin_provider_calls(c, [purchase_of(claimed.job)]))
    done = desk.upload(provider="paid")
    desk.apply(stored(done))
    job, _ = desk.generate(end_user="u")
    desk.apply(failed(job, retryable=False))
    desk.submit(key="k", fingerprint="f")
    desk.submit(key="k", fingerprint="f")
    waiting = desk.create()
    for read in (
        partial(queries.get_job, tenant="acme", job_id=waiting.job.id),
        partial(queries.list_jobs, filters=Filters(tenant="acme", provider="paid"), page_size=2, page_token=""),
        partial(stale_jobs.candidates, limits=desk.limits),
        partial(outbox.claim, limit=16, seconds=1),
        partial(user_actions.cancel_job, tenant="acme", job_id=waiting.job.id),
    ):
        desk.run(read)


def plans(connection: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each prepared statement with its plan."""
    known = text("SELECT name, statement, parameter_types FROM pg_prepared_statements WHERE name ~ '^s[0-9]+$'")
    for row in connection.execute(known).all():
        count = len(re.findall(r"[^{},\"]+", str(row.parameter_types)))
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        explained = connection.execute(text(f"EXPLAIN (FORMAT JSON) EXECUTE {row.name}{arguments}")).scalar_one()
        yield " ".join(row.statement.split()), explained[0]["Plan"]


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the parts of a plan that read a table."""
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


def test_no_statement_reads_a_large_table_from_end_to_end(on_one: JobUseCases) -> None:
    take_all_ways(on_one)
    found = on_one.run(lambda connection: list(plans(connection)))

    assert len(found) > 30
    whole = [
        (scan["Node Type"], scan.get("Index Name", scan["Relation Name"]), statement)
        for statement, plan in found
        for scan in scans(plan)
        if scan["Relation Name"] in LARGE and not {"Index Cond", "Recheck Cond"} & scan.keys()
    ]
    assert [each for each in whole if each[1] not in SHORT] == []
