"""Provider calls that begin together share a transaction: each has the outcome that it would have alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError

from common.postgres import Database
from services.job.application.new_calls import BegunCall, CallRequest
from services.job.domain.jobs import Job
from services.job.domain.providers import Model
from services.job.domain.refusals import Refusal
from services.job.grpc_api.grouped_calls import GroupedCalls
from services.job.store import jobs
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.use_cases import (
    FREE,
    PAID,
    JobUseCases,
    generated,
    open_transaction,
    purchase_of,
    stored,
)
from tests.support.patience import PATIENCE

PRICE = 100
LIMITED = replace(
    PAID,
    name="limited",
    max_concurrency=40,
    models=(Model(name="flux", capabilities=PAID.capabilities, price_micros_per_image=PRICE),),
)
LOCK_PROVIDER = "SELECT pg_advisory_xact_lock(hashtextextended('provider limited', 0))"
CALLS = """
SELECT count(*) AS calls, count(DISTINCT xmin::text) AS transactions FROM provider_calls
"""
SUMS = "SELECT tenant, period, reserved_micros FROM tenant_spend ORDER BY tenant, period"
BREAK = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF new.model = 'broken' THEN RAISE EXCEPTION 'broken on purpose'; END IF; RETURN new; END $$;
CREATE TRIGGER broken BEFORE INSERT ON provider_calls FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """job-service's connections."""
    opened = Database(database_url, application="test", pool_size=4, lock_timeout_ms=int(PATIENCE * 1000))
    yield opened
    await opened.close()


def claimed(desk: JobUseCases, count: int, *, tenant: str = "acme") -> list[Job]:
    """Jobs of the limited provider that workers hold."""
    desk.register(FREE, PAID, LIMITED)
    for _ in range(count):
        desk.create(provider="limited", tenant=tenant)
    held: list[Job] = []
    while len(held) < count:
        held += [claim.job for claim in desk.claim(count - len(held), only=("limited",))]
    return held


async def behind_a_commit(
    desk: JobUseCases, database: Database, first: CallRequest, others: Sequence[CallRequest]
) -> list[BegunCall | BaseException]:
    """Begins `others` while `first` is being committed; returns all outcomes."""
    calls = GroupedCalls(database)
    with open_transaction(desk, lambda c: desk.on(c).sql(LOCK_PROVIDER)):
        leading = asyncio.create_task(calls.begin(first))
        await asyncio.to_thread(desk.await_blocked)
        following = [asyncio.create_task(calls.begin(each)) for each in others]
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(leading, *following, return_exceptions=True)


def reasons(outcomes: Sequence[BegunCall | BaseException]) -> list[str]:
    """The reason of each refusal; "" for a call that has begun."""
    return [str(outcome.reason) if isinstance(outcome, Refusal) else "" for outcome in outcomes]


async def test_calls_that_begin_during_a_commit_share_the_next(desk: JobUseCases, database: Database) -> None:
    first, *others = [purchase_of(job) for job in claimed(desk, 17)]
    with counted_statements() as sent:
        outcomes = await behind_a_commit(desk, database, first, others)

    assert [outcome.call.id for outcome in outcomes if isinstance(outcome, BegunCall)] == [
        request.call_id for request in (first, *others)
    ]
    [made] = desk.sql(CALLS)
    assert (made.calls, made.transactions) == (17, 2)
    assert sum("provider_calls" in statement for statement in sent) < 10
    assert {desk.get(request.fence.job_id).job.state for request in (first, *others)} == {"generating"}


async def test_a_refusal_concerns_one_call(desk: JobUseCases, database: Database) -> None:
    first, kept, lost, unknown, foreign, *_ = [purchase_of(job) for job in claimed(desk, 5)]
    others = [
        kept,
        replace(lost, fence=replace(lost.fence, lease_token=uuid4())),
        replace(unknown, fence=replace(unknown.fence, job_id="job_x")),
        replace(foreign, image_indexes=(7,)),
        # The request and the call of another one in the group.
        kept,
        replace(foreign, call_id=kept.call_id),
    ]
    outcomes = await behind_a_commit(desk, database, first, others)

    assert reasons(outcomes) == ["", "", "LEASE_LOST", "LEASE_LOST", "INVALID_INPUT", "", "INVALID_INPUT"]
    assert outcomes[1] == outcomes[5]
    assert desk.sql(CALLS)[0].calls == 2


async def test_an_error_of_one_call_fails_no_other(desk: JobUseCases, database: Database) -> None:
    first, a, broken, b = [purchase_of(job) for job in claimed(desk, 4)]
    desk.sql(BREAK)
    try:
        outcomes = await behind_a_commit(desk, database, first, [a, replace(broken, model="broken"), b])
    finally:
        desk.sql("DROP FUNCTION refuse CASCADE")

    assert isinstance(outcomes[2], DBAPIError)
    assert [type(outcomes[index]) for index in (0, 1, 3)] == [BegunCall] * 3


@pytest.mark.parametrize("locked", [0, 1], ids=["first", "second"])
async def test_a_job_that_is_locked_holds_up_no_other(desk: JobUseCases, database: Database, locked: int) -> None:
    requests = [purchase_of(job) for job in claimed(desk, 4)]
    calls = GroupedCalls(database)
    with open_transaction(desk, lambda c: jobs.lock(c, [requests[locked].fence.job_id])):
        begun = [asyncio.create_task(calls.begin(request)) for request in requests]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(call for call in begun if call is not begun[locked]))
        assert not begun[locked].done()
    async with asyncio.timeout(PATIENCE):
        assert (await begun[locked]).call.id == requests[locked].call_id


@pytest.mark.parametrize("limit", [{"max_concurrency": 5}, {"max_concurrency": 0, "requests_per_minute": 5}])
async def test_limits_are_kept_exactly(desk: JobUseCases, database: Database, limit: dict[str, int]) -> None:
    requests = [purchase_of(job) for job in claimed(desk, 16)]
    desk.register(FREE, PAID, replace(LIMITED, **limit))
    # Two processes.
    calls = [GroupedCalls(database), GroupedCalls(database)]
    async with asyncio.timeout(PATIENCE):
        begun = (calls[index % 2].begin(request) for index, request in enumerate(requests))
        outcomes = await asyncio.gather(*begun, return_exceptions=True)

    assert sorted(reasons(outcomes)) == [""] * 5 + ["PROVIDER_BUSY"] * 11
    if "requests_per_minute" in limit:
        waits = [outcome.retry_after_seconds for outcome in outcomes if isinstance(outcome, Refusal)]
        assert all(wait is not None and 50 < wait <= 60 for wait in waits)


@pytest.mark.parametrize("spent_before", [False, True], ids=["new sums", "known sums"])
async def test_budgets_are_kept_exactly(desk: JobUseCases, database: Database, spent_before: bool) -> None:
    desk.allow("acme", per_day=5 * PRICE)
    desk.allow("rival", per_month=100 * PRICE)
    mine, theirs = claimed(desk, 9), claimed(desk, 4, tenant="rival")
    begun_before = 2 if spent_before else 0
    for job in (mine.pop(), theirs.pop())[:begun_before]:
        desk.begin(job)
    first, *others = [purchase_of(job) for job in (theirs[0], *mine, *theirs[1:])]
    outcomes = await behind_a_commit(desk, database, first, others)

    refused = [reason for reason in reasons(outcomes) if reason]
    left = 5 - begun_before // 2
    assert refused == ["BUDGET_EXHAUSTED"] * (len(mine) - left)
    reserved = {(row.tenant, row.period): row.reserved_micros for row in desk.sql(SUMS)}
    rivals = (len(theirs) + begun_before // 2) * PRICE
    assert reserved == {
        ("acme", "day"): 5 * PRICE,
        ("acme", "month"): 5 * PRICE,
        ("rival", "day"): rivals,
        ("rival", "month"): rivals,
    }
    [billed] = desk.sql("SELECT sum(reserved_micros) AS micros FROM provider_calls")
    assert billed.micros == 5 * PRICE + rivals


def test_a_call_and_its_facts_take_few_statements(desk: JobUseCases) -> None:
    [job] = claimed(desk, 1)
    taken = []
    with counted_statements() as sent:
        call = desk.begin(job)
    taken.append(len(sent))
    fact = generated(desk.job(job.id), call)
    with counted_statements() as sent:
        desk.apply(fact)
    taken.append(len(sent))
    [upload] = desk.claim_uploads()
    with counted_statements() as sent:
        desk.apply(stored(upload.job))
    taken.append(len(sent))

    assert taken == [7, 5, 5]
