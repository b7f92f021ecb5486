"""Submissions of a tenant that share a transaction: each has the result that it would have alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from common.postgres import Database, DatabaseUnavailable
from services.job.application.submission import ActionResult, NewJob
from services.job.domain.quotas import Quota
from services.job.domain.refusals import Refusal
from services.job.domain.requests import JobRequest
from services.job.grpc_api.grouped_submissions import GroupedSubmissions
from services.job.grpc_api.grouping import MAX_GROUP
from tests.support.job_service.use_cases import JobUseCases, open_transaction
from tests.support.patience import PATIENCE

QUOTA = Quota(max_queued=5)
LOCK_TENANT = "SELECT pg_advisory_xact_lock(hashtextextended('tenant acme', 0))"
BREAK = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF new.request->>'prompt' = 'broken' THEN RAISE EXCEPTION 'broken on purpose'; END IF; RETURN new; END $$;
CREATE TRIGGER broken BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """job-service's connections."""
    opened = Database(database_url, application="test", pool_size=4)
    yield opened
    await opened.close()


def new(prompt: str = "a harbour", *, key: str = "", quota: Quota | None = QUOTA, **fields: Any) -> NewJob:
    return NewJob(
        tenant="acme",
        idempotency_key=key,
        fingerprint=prompt,
        request=JobRequest(prompt=prompt, **fields),
        quota=quota,
    )


async def behind_a_commit(
    desk: JobUseCases, database: Database, first: NewJob, others: Sequence[NewJob]
) -> list[ActionResult | BaseException]:
    """Submits `others` while `first` is being committed; returns all results."""
    submissions = GroupedSubmissions(database)
    with open_transaction(desk, lambda c: desk.on(c).sql(LOCK_TENANT)):
        leading = asyncio.create_task(submissions.submit(first))
        await asyncio.to_thread(desk.await_blocked)
        following = [asyncio.create_task(submissions.submit(each)) for each in others]
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(leading, *following, return_exceptions=True)


async def test_submissions_that_arrive_during_a_commit_share_the_next(desk: JobUseCases, database: Database) -> None:
    many = Quota(max_queued=1000)
    others = [new(f"harbour {number}", quota=many) for number in range(MAX_GROUP)]
    results = await behind_a_commit(desk, database, new(quota=many), others)

    prompts = [result.snapshot.job.request.prompt for result in results if isinstance(result, ActionResult)]
    assert prompts == ["a harbour", *(each.request.prompt for each in others)]
    [made] = desk.sql("SELECT count(*) AS jobs, count(DISTINCT xmin::text) AS transactions FROM jobs")
    assert (made.jobs, made.transactions) == (MAX_GROUP + 1, 2)


async def test_a_refusal_and_a_known_key_concern_one_submission(desk: JobUseCases, database: Database) -> None:
    others = [new("b", key="k"), new("b", key="k"), new("c", key="k"), new(n=11), new(), new(), new(), new("late")]
    first, b, again, reused, invalid, *rest = await behind_a_commit(desk, database, new(), others)

    assert isinstance(first, ActionResult)
    assert isinstance(b, ActionResult)
    assert isinstance(again, ActionResult)
    assert (b.replayed, again.replayed, again.snapshot.job.id) == (False, True, b.snapshot.job.id)
    reasons = [result.reason if isinstance(result, Refusal) else "" for result in (reused, invalid, *rest)]
    assert reasons == ["IDEMPOTENCY_KEY_REUSED", "INVALID_INPUT", "", "", "", "QUOTA_EXCEEDED"]
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == QUOTA.max_queued


async def test_an_error_of_one_submission_fails_no_other(desk: JobUseCases, database: Database) -> None:
    desk.sql(BREAK)
    try:
        results = await behind_a_commit(desk, database, new(), [new("b"), new("broken"), new("c")])
    finally:
        desk.sql("DROP FUNCTION refuse CASCADE")

    assert [type(result) for result in results[:2]] == [ActionResult, ActionResult]
    assert isinstance(results[2], DBAPIError)
    assert isinstance(results[3], ActionResult)


async def test_callers_that_have_gone_hold_up_nobody(desk: JobUseCases, database: Database) -> None:
    submissions = GroupedSubmissions(database)
    with open_transaction(desk, lambda c: desk.on(c).sql(LOCK_TENANT)):
        leading = asyncio.create_task(submissions.submit(new()))
        await asyncio.to_thread(desk.await_blocked)
        gone, kept = (asyncio.create_task(submissions.submit(new(prompt))) for prompt in ("gone", "kept"))
        await asyncio.sleep(0)
        leading.cancel()
        gone.cancel()
    async with asyncio.timeout(PATIENCE):
        await kept
        await submissions.submit(new("next"))
    prompts = {row.prompt for row in desk.sql("SELECT request->>'prompt' AS prompt FROM jobs")}
    # The transaction of a caller that has gone ends all the same.
    assert prompts == {"a harbour", "kept", "next"}


async def test_a_database_that_is_away_fails_all_that_wait(desk: JobUseCases, database: Database) -> None:
    submissions = GroupedSubmissions(database)
    with open_transaction(desk, lambda c: desk.on(c).sql(LOCK_TENANT)):
        leading = asyncio.create_task(submissions.submit(new()))
        await asyncio.to_thread(desk.await_blocked)
        following = [asyncio.create_task(submissions.submit(new())) for _ in range(3)]
        await asyncio.sleep(0)
        desk.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'")
        database.run = _away  # type: ignore[method-assign, assignment]
    results = await asyncio.gather(leading, *following, return_exceptions=True)

    assert [type(result) for result in results[1:]] == [DatabaseUnavailable] * 3


async def _away(*_: object, **__: object) -> None:
    raise DatabaseUnavailable("as the test says")
