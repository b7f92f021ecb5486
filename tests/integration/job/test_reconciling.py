"""Buckets are compared with the database page by page: what nobody needs goes, what is missing is an alarm."""

import logging
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from calotype.job.v1 import worker_service_pb2 as worker

from common.grpc_client import call
from services.job.application import bucket_sweep
from services.job.application.bucket_sweep import PAGE, PAGE_PAUSE, PASS_PAUSE, UNKNOWN_FOLDER_SECONDS, SweepResult
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import deletions, queue
from tests.support.job_service.api import Api
from tests.support.job_service.use_cases import JobUseCases, failed, stored
from tests.support.patience import PATIENCE

UNKNOWN = f"job_{'0' * 32}"


def begin(desk: JobUseCases, bucket: str = "public") -> tuple[UUID, str] | None:
    """Hold the next page: its token, and the name after which it begins; None when none is due."""
    token = uuid4()
    after = desk.run(lambda c: bucket_sweep.claim_page(c, bucket, token))
    return None if after is None else (token, after)


def tell(
    desk: JobUseCases, token: UUID, names: Sequence[str], *, bucket: str = "public", is_end: bool = True
) -> SweepResult:
    """Say what a page has."""
    return desk.run(lambda c: bucket_sweep.compare(c, bucket, token, names=names, is_end=is_end))


def compare(desk: JobUseCases, *names: str, bucket: str = "public", is_end: bool = True) -> SweepResult:
    """Hold a page, and say what it has."""
    held = begin(desk, bucket)
    assert held is not None
    return tell(desk, held[0], sorted(names), bucket=bucket, is_end=is_end)


def completed(desk: JobUseCases) -> Job:
    """A job whose pictures are public, and whose folder in staging was emptied long ago."""
    job = desk.upload()
    desk.apply(stored(job))
    desk.sql("DELETE FROM deletions")
    return job


def public(job_id: str) -> str:
    """A job's public picture."""
    return f"jobs/{job_id}/0-0000000000000000.png"


def to_go(desk: JobUseCases) -> list[str]:
    """Folders that are due to be emptied."""
    tokens = [uuid4() for _ in range(20)]
    return sorted(
        one.prefix
        for bucket in ("staging", "public")
        for one in desk.run(lambda c, b=bucket: deletions.claim(c, bucket=b, tokens=tokens, limits=desk.limits))
    )


def test_what_a_canceled_or_deleted_job_still_has_is_to_go(desk: JobUseCases) -> None:
    canceled, deleted = desk.upload(), completed(desk)
    desk.cancel(canceled.id)
    desk.delete(deleted.id)
    desk.sql("DELETE FROM deletions")
    for bucket in ("public", "staging"):
        above = "jobs/" if bucket == "public" else ""
        seen = compare(desk, *(f"{above}{job.id}/{at}" for job in (canceled, deleted) for at in "01"), bucket=bucket)
        assert seen == SweepResult(to_delete=2)

    assert to_go(desk) == sorted(f"{above}{job.id}/" for job in (canceled, deleted) for above in ("", "jobs/"))


def test_what_a_completed_job_has_in_staging_is_to_go_and_its_pictures_stay(desk: JobUseCases) -> None:
    job = completed(desk)

    assert compare(desk, public(job.id)) == SweepResult()
    assert compare(desk, f"{job.id}/call_1/0", bucket="staging") == SweepResult(to_delete=1)
    assert to_go(desk) == [f"{job.id}/"]


def test_what_a_job_may_still_need_is_left_alone_however_it_stands(desk: JobUseCases) -> None:
    under_way = [desk.upload(), desk.generate()[0]]
    broken = desk.upload()
    desk.apply(failed(broken, retryable=False))
    under_way += [broken, desk.create().job]

    assert compare(desk, *(public(job.id) for job in under_way)) == SweepResult()
    assert compare(desk, *(f"{job.id}/call_1/0" for job in under_way), bucket="staging") == SweepResult()
    assert desk.sql("SELECT 1 FROM deletions") == []


def test_what_belongs_to_no_job_is_an_alarm_and_goes_after_a_week(
    desk: JobUseCases, caplog: pytest.LogCaptureFixture
) -> None:
    compare(desk, public(UNKNOWN))
    at_once = to_go(desk)
    desk.sql(
        "UPDATE deletions SET due_at = due_at - make_interval(secs => :week), asked_at = '2020-01-01'",
        week=UNKNOWN_FOLDER_SECONDS,
    )

    assert (at_once, to_go(desk)) == ([], [f"jobs/{UNKNOWN}/"])
    assert "objects.not_owned" in [one.message for one in caplog.records if one.levelno == logging.ERROR]


def test_what_is_not_called_as_our_objects_are_is_none_of_ours(desk: JobUseCases) -> None:
    compare(desk, "index.html", "jobs/readme", f"jobs/{UNKNOWN}", "logos/1.png")
    compare(desk, f"x{UNKNOWN}/1", bucket="staging")

    assert desk.sql("SELECT 1 FROM deletions") == []


def test_a_find_changes_nothing_of_what_was_asked_for_already(desk: JobUseCases) -> None:
    desk.cancel(desk.upload().id)
    before = desk.sql("SELECT * FROM deletions ORDER BY id")
    compare(desk, *(f"jobs/{row.job_id}/0" for row in before[:1]))

    assert desk.sql("SELECT * FROM deletions ORDER BY id") == before


def test_a_picture_that_is_missing_is_an_alarm_and_changes_nothing(
    desk: JobUseCases, caplog: pytest.LogCaptureFixture
) -> None:
    here, gone = completed(desk), completed(desk)
    before = desk.get(gone.id)
    seen = compare(desk, public(here.id))

    assert seen == SweepResult(missing=1)
    [alarm] = [one for one in caplog.records if one.message == "objects.not_found"]
    assert (alarm.levelno, vars(alarm)["names"]) == (logging.ERROR, [public(gone.id)])
    assert desk.run(queue.count).missing_objects == 1
    assert desk.get(gone.id) == before


def test_an_alarm_of_a_pass_ends_with_a_pass_that_finds_everything(desk: JobUseCases) -> None:
    job = completed(desk)
    compare(desk)
    desk.sql("UPDATE sweeps SET due_at = clock_timestamp()")
    compare(desk, public(job.id))

    assert desk.run(queue.count).missing_objects == 0


def test_a_picture_that_came_after_the_bucket_was_read_is_not_missed(desk: JobUseCases) -> None:
    held = begin(desk)
    assert held is not None
    completed(desk)

    assert tell(desk, held[0], []) == SweepResult()


def test_a_deleted_jobs_picture_is_not_missed(desk: JobUseCases) -> None:
    desk.delete(completed(desk).id)

    assert compare(desk).missing == 0


def test_a_pass_goes_on_where_the_last_page_ended_whoever_reads_it(desk: JobUseCases) -> None:
    first, second = sorted((completed(desk), completed(desk)), key=lambda job: job.id)
    compare(desk, public(first.id), is_end=False)
    too_soon = begin(desk)
    desk.sql("UPDATE sweeps SET due_at = due_at - make_interval(secs => :pause)", pause=PAGE_PAUSE)
    held = begin(desk)
    at_the_same_time = begin(desk)
    assert held is not None
    # The first is not missed here: it was on the page before.
    seen = tell(desk, held[0], [public(second.id)])

    assert (too_soon, at_the_same_time) == (None, None)
    assert (held[1], seen) == (public(first.id), SweepResult())


def test_a_page_whose_reader_died_is_read_by_another_and_the_late_word_is_nothing(desk: JobUseCases) -> None:
    job = completed(desk)
    late = begin(desk)
    desk.sql("UPDATE sweeps SET due_at = clock_timestamp()")
    again = begin(desk)
    assert late is not None
    assert again is not None

    assert tell(desk, late[0], []) == SweepResult()
    assert tell(desk, again[0], [public(job.id)]) == SweepResult()


def test_a_pass_begins_anew_some_time_after_its_end(desk: JobUseCases) -> None:
    compare(desk)
    at_once = begin(desk)
    desk.sql("UPDATE sweeps SET due_at = due_at - make_interval(secs => :pause)", pause=PASS_PAUSE)
    again = begin(desk)

    assert at_once is None
    assert again is not None
    assert again[1] == ""


def test_a_bucket_that_lost_everything_is_told_page_by_page(desk: JobUseCases) -> None:
    job = completed(desk)
    copies = 2 * PAGE + 99
    for statement in (
        """INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object('id', 'job_' || md5(n::text)))).*
        FROM jobs, generate_series(1, :copies) AS n WHERE id = :id""",
        """INSERT INTO provider_calls SELECT (jsonb_populate_record(call, jsonb_build_object('id', 'call_' || n,
            'job_id', 'job_' || md5(n::text), 'idempotency_key', n))).*
        FROM provider_calls AS call, generate_series(1, :copies) AS n WHERE job_id = :id""",
        """INSERT INTO artifacts SELECT (jsonb_populate_record(artifacts, jsonb_build_object('id', 'img_' || n,
            'job_id', 'job_' || md5(n::text), 'call_id', 'call_' || n,
            'public_name', 'jobs/job_' || md5(n::text) || '/0-0.png'))).*
        FROM artifacts, generate_series(1, :copies) AS n WHERE job_id = :id""",
    ):
        desk.sql(statement, copies=copies, id=job.id)
    seen = []
    for _ in range(3):
        desk.sql("UPDATE sweeps SET due_at = clock_timestamp()")
        seen.append(compare(desk).missing)

    assert seen == [PAGE, PAGE, 100]
    assert desk.run(queue.count).missing_objects == copies + 1


@pytest.mark.parametrize("names", [["jobs/b", "jobs/a"], ["jobs/a", "jobs/a"], [f"{n:04}" for n in range(PAGE + 1)]])
def test_names_that_are_no_page_are_refused(desk: JobUseCases, names: list[str]) -> None:
    held = begin(desk)
    assert held is not None

    with pytest.raises(Refusal):
        tell(desk, held[0], names)


async def test_a_worker_is_given_a_page_and_told_what_is_wrong_with_it(desk: JobUseCases, api: Api) -> None:
    job = completed(desk)
    token = str(uuid4())
    ask = worker.ClaimSweepRequest(worker="u", bucket=worker.BUCKET_PUBLIC, lease_token=token)
    page = await call(api.work.ClaimSweep, ask, timeout=PATIENCE)
    again = await call(api.work.ClaimSweep, ask, timeout=PATIENCE)
    tell_all = worker.ReportSweepRequest(worker="u", bucket=worker.BUCKET_PUBLIC, lease_token=token, is_end=True)
    seen = await call(api.work.ReportSweep, tell_all, timeout=PATIENCE)

    assert (page, again.is_due) == (worker.ClaimSweepResponse(is_due=True, most=PAGE), False)
    assert (seen, desk.job(job.id).state) == (worker.ReportSweepResponse(missing=1), State.COMPLETED)


async def test_a_worker_tells_what_it_emptied_with_its_next_claim(desk: JobUseCases, api: Api) -> None:
    desk.sql("INSERT INTO deletions VALUES ('del_1', 'job_1', 'staging', 'job_1/', clock_timestamp(), NULL, NULL)")
    ask = worker.ClaimDeletionsRequest(worker="g", bucket=worker.BUCKET_STAGING, lease_tokens=[str(uuid4())])
    [held] = (await call(api.work.ClaimDeletions, ask, timeout=PATIENCE)).deletions
    done = worker.ClaimDeletionsRequest(worker="g", bucket=worker.BUCKET_STAGING, emptied=[held])
    answer = await call(api.work.ClaimDeletions, done, timeout=PATIENCE)

    assert (list(answer.deletions), desk.sql("SELECT 1 FROM deletions")) == ([], [])
