"""What was kept for long enough goes, as if its user had deleted it; what is still needed stays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from common.postgres import Database
from services.job.application.provider_calls import record_operation
from services.job.domain.calls import CallOutcome, CallPhase, VendorError
from services.job.domain.facts import CallSettled
from services.job.domain.jobs import ProviderCancel
from services.job.domain.refusals import Refusal
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.purger import LONGEST_WAIT_SECONDS, Purger, purge_jobs
from services.job.store import settlements
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored

TABLES = (
    "jobs", "job_events", "job_inputs", "attempts", "artifacts", "outbox", "provider_calls", "provider_call_images",
    "idempotency_keys", "deletions",
)  # fmt: skip


@pytest.fixture
async def purging(database_url: str) -> AsyncIterator[Purger]:
    """The purger, with the usual times."""
    database = Database(database_url, application="test", pool_size=2)
    yield Purger(database, StageTimeouts(), retention=timedelta(days=90), key_retention=timedelta(days=365))
    await database.close()


def completed(desk: JobUseCases, **request: object) -> str:
    """A job with a public picture."""
    job, call = desk.generate(**request)
    desk.apply(generated(job, call))
    [claimed] = desk.claim_uploads()
    desk.apply(stored(claimed.job))
    return job.id


def age(desk: JobUseCases, days: float) -> None:
    """Let everything have happened so long ago."""
    desk.sql(
        """UPDATE jobs SET completed_at = completed_at - make_interval(secs => :seconds),
        deleted_at = deleted_at - make_interval(secs => :seconds)""",
        seconds=days * 86_400,
    )
    desk.sql(
        "UPDATE idempotency_keys SET created_at = created_at - make_interval(secs => :seconds)", seconds=days * 86_400
    )


async def test_an_old_job_is_deleted_and_its_key_says_so(desk: JobUseCases, purging: Purger) -> None:
    job_id = completed(desk, key="k")
    age(desk, 91)

    assert await purging.run_once() == {
        "calls": 0,
        "jobs": 1,
        "keys": 0,
        "tombstones": 0,
        "sums": 0,
        "pauses": 0,
        "bulk_actions": 0,
    }
    with pytest.raises(Refusal) as gone:
        desk.create(key="k")
    assert gone.value.reason == "JOB_DELETED"
    folders = desk.sql("SELECT bucket, prefix FROM deletions ORDER BY bucket")
    assert [tuple(row) for row in folders] == [("public", f"jobs/{job_id}/"), ("staging", f"{job_id}/")]
    assert desk.sql("SELECT count(*) FROM provider_calls")[0][0] == 1


async def test_what_is_young_or_not_over_stays(desk: JobUseCases, purging: Purger) -> None:
    completed(desk)
    waiting = desk.create().job.id
    age(desk, 89)

    assert await purging.run_once() == {
        "calls": 0,
        "jobs": 0,
        "keys": 0,
        "tombstones": 0,
        "sums": 0,
        "pauses": 0,
        "bulk_actions": 0,
    }
    assert desk.job(waiting).deleted_at is None


async def test_a_job_whose_call_is_open_waits_for_its_end(desk: JobUseCases, purging: Purger) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    age(desk, 91)
    assert (await purging.run_once())["jobs"] == 0

    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED)
    desk.apply(CallSettled(job_id=job.id, outcome=outcome, provider_cancel=None))
    assert (await purging.run_once())["jobs"] == 1


@pytest.mark.parametrize("end", ["canceled", "failed"])
async def test_a_call_of_a_provider_that_is_gone_is_given_up_after_a_day_and_its_job_purged(
    desk: JobUseCases, purging: Purger, end: str
) -> None:
    job, call = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    if end == "canceled":
        desk.cancel(job.id)
    else:
        desk.apply(failed(job, retryable=False))
    before = desk.job(job.id)
    assert (await purging.run_once())["calls"] == 0
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '25 hours'")
    counts = [(await purging.run_once())["calls"] for _ in range(2)]
    after = desk.job(job.id)

    assert counts == [1, 0]
    assert (after.state, after.sequence) == (before.state, before.sequence + 1)
    assert after.provider_cancel == (ProviderCancel.UNSUPPORTED if end == "canceled" else None)
    assert [row.phase for row in desk.sql("SELECT phase FROM provider_calls")] == ["unknown"]
    age(desk, 91)
    assert (await purging.run_once())["jobs"] == 1


async def test_a_call_that_somebody_looks_at_is_not_given_up_meanwhile(desk: JobUseCases, purging: Purger) -> None:
    job, call = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    desk.cancel(job.id)
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '25 hours'")
    token = uuid4()
    desk.run(lambda c: settlements.claim(c, worker="w", tokens=[token], providers=["paid"], seconds=30))

    assert (await purging.run_once())["calls"] == 0
    assert desk.run(lambda c: settlements.postpone(c, token, cancel_outcome=None, pause=1))
    assert (await purging.run_once())["calls"] == 1


async def test_a_job_under_way_keeps_its_call_however_old(desk: JobUseCases, purging: Purger) -> None:
    desk.generate(provider="paid")
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '25 hours'")

    assert (await purging.run_once())["calls"] == 0


async def test_keys_and_tombstones_go_together_and_the_ledger_stays(desk: JobUseCases, purging: Purger) -> None:
    job_id = completed(desk, key="k")
    desk.delete(job_id)
    desk.sql("DELETE FROM deletions")
    desk.sql("DELETE FROM outbox")
    age(desk, 366)

    assert await purging.run_once() == {
        "calls": 0,
        "jobs": 0,
        "keys": 1,
        "tombstones": 1,
        "sums": 0,
        "pauses": 0,
        "bulk_actions": 0,
    }
    assert desk.sql("SELECT count(*) FROM jobs")[0][0] == 0
    assert desk.sql("SELECT count(*) FROM provider_calls WHERE job_id = :id", id=job_id)[0][0] == 1
    assert desk.create(key="k").job.id != job_id


async def test_a_tombstone_stays_until_its_folders_are_empty(desk: JobUseCases, purging: Purger) -> None:
    desk.delete(completed(desk))
    age(desk, 366)

    assert (await purging.run_once())["tombstones"] == 0


async def test_a_tombstone_stays_until_its_last_event_is_published(desk: JobUseCases, purging: Purger) -> None:
    desk.delete(completed(desk))
    desk.sql("DELETE FROM deletions")
    age(desk, 366)

    assert (await purging.run_once())["tombstones"] == 0


def test_of_a_deleted_jobs_published_events_the_final_ones_stay(desk: JobUseCases) -> None:
    job_id = completed(desk)
    desk.sql("DELETE FROM outbox")
    desk.delete(job_id)

    assert [row.type for row in desk.sql("SELECT type FROM job_events")] == ["job.completed"]


def test_the_oldest_go_first_and_few_at_a_time(desk: JobUseCases) -> None:
    made = [desk.cancel(desk.create().job.id).job.id for _ in range(3)]
    age(desk, 91)

    assert desk.run(lambda connection: purge_jobs(connection, seconds=86_400, limit=2)) == 2
    assert [desk.job(job_id).deleted_at is None for job_id in made] == [False, False, True]


async def test_two_purgers_at_once_purge_everything_once(desk: JobUseCases, purging: Purger) -> None:
    for _ in range(20):
        desk.cancel(desk.create().job.id)
    age(desk, 91)

    counts = await asyncio.gather(purging.run_once(), purging.run_once())
    assert sum(one["jobs"] for one in counts) == 20


def test_a_deleted_jobs_words_are_in_no_table(desk: JobUseCases) -> None:
    word = "xyzzy-private"
    made = {"prompt": word, "end_user": word, "metadata": {"k": word}}
    done = completed(desk, provider="paid", **made)
    job, call = desk.generate(provider="paid", **made)
    said = VendorError(http_status=400, code="no", message=f"cannot draw {word}")
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.REFUSED, provider_error=said)
    desk.apply(failed(job, retryable=False, calls=(outcome,)))
    desk.sql("INSERT INTO job_inputs VALUES (:id, 0, convert_to(:word, 'UTF8'))", id=done, word=word)
    for job_id in (done, job.id):
        desk.delete(job_id)

    found = {
        table: desk.sql(f"SELECT count(*) FROM {table} WHERE position(:word in {table}::text) > 0", word=word)[0][0]
        for table in TABLES
    }
    assert {table: count for table, count in found.items() if count} == {}


def test_what_a_vendor_says_after_a_deletion_is_not_kept(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    desk.cancel(job.id)
    desk.delete(job.id)
    said = VendorError(http_status=200, code="failed", message="words of a prompt")
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.FAILED, provider_error=said)
    desk.apply(CallSettled(job_id=job.id, outcome=outcome, provider_cancel=None))

    [row] = desk.sql("SELECT phase, provider_error FROM provider_calls")
    assert tuple(row) == ("failed", None)


@pytest.mark.parametrize(("waited", "alarms"), [(LONGEST_WAIT_SECONDS - 60, 0), (LONGEST_WAIT_SECONDS + 1, 1)])
async def test_folders_that_nobody_empties_are_an_alarm(
    desk: JobUseCases, purging: Purger, caplog: pytest.LogCaptureFixture, waited: float, alarms: int
) -> None:
    completed(desk)
    desk.sql("UPDATE deletions SET asked_at = asked_at - make_interval(secs => :waited)", waited=waited)
    await purging.run_once()

    assert caplog.messages.count("deletions.delayed") == alarms
