"""A batch of new jobs: each item is decided alone, all are written together, and none twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from calotype.job.v1 import job_pb2, job_service_pb2
from sqlalchemy.exc import DBAPIError

from common.grpc_client import call
from services.job.application.batch_submission import BatchResult
from services.job.application.submission import ActionResult
from services.job.domain.quotas import Quota
from services.job.domain.refusals import Refusal
from services.job.domain.requests import InputImage, Priority
from services.job.grpc_api import job_batches
from tests.support.job_service.api import Api, refusal_of
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.use_cases import FREE, JobUseCases, open_transaction
from tests.support.patience import PATIENCE

BREAK = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken on purpose'; END $$;
CREATE TRIGGER broken BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture(autouse=True)
def mended(desk: JobUseCases) -> Iterator[None]:
    """After each test the module's database is whole again."""
    yield
    desk.sql("DROP FUNCTION IF EXISTS refuse CASCADE")


def outcomes(done: BatchResult) -> list[str]:
    """`new`, `replayed` or the reason of each item."""
    return [
        str(item.reason) if isinstance(item, Refusal) else "replayed" if item.replayed else "new"
        for item in done.results
    ]


def ids(done: BatchResult) -> list[str]:
    """Ids of the jobs, in the order of the items that have one."""
    return [item.snapshot.job.id for item in done.results if isinstance(item, ActionResult)]


def count(desk: JobUseCases, table: str = "jobs") -> int:
    return int(desk.sql(f"SELECT count(*) AS n FROM {table}")[0].n)


def test_results_come_in_the_order_of_the_items_and_bad_ones_leave_the_others(desk: JobUseCases) -> None:
    done = desk.submit_batch(
        {"prompt": "one"},
        {"prompt": "two", "n": 11},
        {"prompt": "three\x00"},
        {"prompt": "x" * 32_001},
        {"prompt": "five", "provider": "nobody"},
        {"prompt": "six", "metadata": {"k": "\x00"}},
        {"prompt": "seven", "provider_options": {"a": "\x00"}},
        {"prompt": "eight", "provider": "paid", "fallback": ("procedural",)},
    )

    invalid = ["INVALID_INPUT"] * 3
    assert outcomes(done) == ["new", *invalid, "PROVIDER_NOT_FOUND", "INVALID_INPUT", "INVALID_INPUT", "new"]
    prompts = [row.prompt for row in desk.sql("SELECT request->>'prompt' AS prompt FROM jobs ORDER BY id")]
    assert prompts == ["one", "eight"]
    assert (count(desk, "job_events"), count(desk, "outbox"), count(desk, "lanes")) == (2, 2, 2)
    assert [claimed.job.id for claimed in desk.claim(3)] == ids(done)


def test_a_batch_that_is_sent_again_creates_nothing(desk: JobUseCases) -> None:
    items = [{"prompt": "a", "key": f"k{index}"} for index in range(3)]
    quota = Quota(requests_per_minute=3, max_queued=3)
    first = desk.submit_batch(*items, quota=quota)
    single = desk.create(key="k1", fingerprint="f")
    again = desk.submit_batch(*reversed(items), quota=quota)

    assert (outcomes(first), outcomes(again)) == (["new"] * 3, ["replayed"] * 3)
    assert ids(again) == ids(first)[::-1]
    assert single.job.id == ids(first)[1]
    assert (again.rate, count(desk), count(desk, "idempotency_keys")) == (None, 3, 3)


def test_a_key_stands_for_one_job_within_a_batch_too(desk: JobUseCases) -> None:
    known = desk.create(key="known", fingerprint="f").job
    gone = desk.create(key="gone", fingerprint="f").job
    desk.cancel(gone.id)
    desk.delete(gone.id)
    done = desk.submit_batch(
        {"key": "k"},
        {"key": "k"},
        {"key": "k", "fingerprint": "g"},
        {"key": "known", "fingerprint": "g"},
        {"key": "known"},
        {"key": "gone"},
        # A refused item does not use its key up.
        {"key": "late", "fingerprint": "g", "n": 11},
        {"key": "late"},
    )

    reused = "IDEMPOTENCY_KEY_REUSED"
    expected = ["new", "replayed", reused, reused, "replayed", "JOB_DELETED", "INVALID_INPUT", "new"]
    assert outcomes(done) == expected
    assert ids(done)[:3] == [ids(done)[0], ids(done)[0], known.id]
    assert desk.create(key="late", fingerprint="f").job.id == ids(done)[3]


@pytest.mark.parametrize("name", ["max_queued", "max_high_priority", "requests_per_minute"])
def test_a_quota_that_is_reached_in_the_middle_refuses_the_rest(desk: JobUseCases, name: str) -> None:
    quota, item = Quota(**{name: 3}), {"priority": Priority.HIGH}
    desk.submit(quota=quota, priority=Priority.HIGH)
    done = desk.submit_batch(item, {"n": 11}, item, item, item, quota=quota)

    assert outcomes(done) == ["new", "INVALID_INPUT", "new", "QUOTA_EXCEEDED", "QUOTA_EXCEEDED"]
    assert {item.metadata["quota"] for item in done.results[3:] if isinstance(item, Refusal)} == {name}
    with pytest.raises(Refusal, match="limit of 3"):
        desk.submit(quota=quota, priority=Priority.HIGH)


def test_a_whole_allowance_fits_into_one_batch(desk: JobUseCases) -> None:
    quota = Quota(requests_per_minute=7, max_in_flight=2)
    done = desk.submit_batch(*[{}] * 8, quota=quota)

    assert outcomes(done) == ["new"] * 7 + ["QUOTA_EXCEEDED"]
    assert done.rate is not None
    assert (done.rate.remaining, round(done.rate.reset_seconds)) == (0, 60)
    assert len(desk.claim(9)) == 2
    assert outcomes(desk.submit_batch({}, quota=Quota(requests_per_minute=0))) == ["QUOTA_EXCEEDED"]


def test_a_batch_that_breaks_before_its_commit_leaves_nothing(desk: JobUseCases) -> None:
    desk.sql(BREAK)
    with pytest.raises(DBAPIError, match="broken on purpose"):
        desk.submit_batch({"key": "k"}, {}, quota=Quota(requests_per_minute=3, max_in_flight=1))

    assert [count(desk, table) for table in ("jobs", "job_events", "idempotency_keys", "tenant_rates")] == [0] * 4


def test_equal_batches_at_once_create_each_job_once(desk: JobUseCases) -> None:
    items = [{"key": f"k{index}"} for index in range(20)]
    with ThreadPoolExecutor(12) as threads:
        orders = [items, items[::-1], items[7:] + items[:7]] * 4
        done = list(threads.map(lambda batch: desk.submit_batch(*batch, quota=Quota(max_queued=50)), orders))

    assert {frozenset(ids(one)) for one in done} == {frozenset(ids(done[0]))}
    assert sorted(outcome for one in done for outcome in outcomes(one)) == ["new"] * 20 + ["replayed"] * 220
    assert count(desk) == 20


def test_a_single_request_and_a_batch_wait_for_each_other(desk: JobUseCases) -> None:
    with ThreadPoolExecutor(1) as threads:
        with open_transaction(desk, lambda connection: desk.on(connection).create(key="b", fingerprint="f")):
            batch = threads.submit(desk.submit_batch, {"key": "a"}, {"key": "b"})
            desk.await_blocked()
        assert outcomes(batch.result(PATIENCE)) == ["new", "replayed"]


def test_images_of_refused_items_are_not_kept(desk: JobUseCases) -> None:
    able = FREE.capabilities.__class__(free=True, max_input_images=1, min_side=64, max_side=2048)
    desk.register(FREE.__class__(**{**FREE.__dict__, "capabilities": able}))
    image = InputImage(content_type="image/png", sha256="0" * 64, size_bytes=3)
    item = {"input_images": (image,), "images": {0: b"png"}}
    with ThreadPoolExecutor(1) as threads:
        # The batch finds one place, which another request has taken when its turn comes.
        quota = Quota(max_queued=2)
        with open_transaction(desk, lambda connection: desk.on(connection).submit(quota=quota)):
            batch = threads.submit(desk.submit_batch, item, {"n": 11, **item}, item, quota=quota)
            desk.await_blocked()
        done = batch.result(PATIENCE)

    assert outcomes(done) == ["new", "INVALID_INPUT", "QUOTA_EXCEEDED"]
    assert [row.job_id for row in desk.sql("SELECT job_id FROM job_inputs")] == ids(done)


def test_a_hundred_items_take_as_many_statements_as_two(desk: JobUseCases) -> None:
    sent: list[int] = []
    for items in (2, 100):
        with counted_statements() as statements:
            desk.submit_batch(*[{"key": f"{items}-{index}"} for index in range(items)], quota=Quota(max_queued=200))
        sent.append(len(statements))

    assert sent[0] == sent[1] <= 14


def test_while_no_generator_is_known_only_repetitions_are_answered(desk: JobUseCases) -> None:
    desk.submit_batch({"key": "k"})
    desk.sql("DELETE FROM providers")

    assert outcomes(desk.submit_batch({"key": "k"})) == ["replayed"]
    with pytest.raises(Refusal) as refused:
        desk.submit_batch({"key": "k"}, {})
    assert refused.value.reason == "SERVICE_UNAVAILABLE"


async def test_a_batch_over_grpc_has_a_result_per_item_and_its_jobs_can_be_followed(api: Api) -> None:
    done = await api.create_batch(("one", "k"), ("two", ""), ("three", "a b"), ("", ""))
    again = await api.create_batch(("one", "k"))

    first, second, bad_key, bad_prompt = done.results
    assert [result.WhichOneof("outcome") for result in done.results] == ["job", "job", "refusal", "refusal"]
    assert (first.job.request.prompt, second.job.request.prompt) == ("one", "two")
    assert (again.results[0].job.id, again.results[0].replayed, first.replayed) == (first.job.id, True, False)
    assert [result.refusal.field_violations[0].field for result in (bad_key, bad_prompt)] == [
        "idempotency_key",
        "prompt",
    ]
    assert (bad_key.refusal.status_code, bad_key.refusal.reason) == (3, "INVALID_INPUT")
    assert not done.HasField("rate")
    single = job_service_pb2.CreateJobRequest(
        tenant="acme", idempotency_key="k", request=job_pb2.JobRequest(prompt="one")
    )
    assert (await call(api.jobs.CreateJob, single, timeout=PATIENCE)).job.id == first.job.id
    await api.claim()
    async with api.watch(second.job.id, after=0) as updates:
        assert (await anext(updates)).job.sequence == 1


@pytest.mark.parametrize("items", [0, 101])
async def test_a_batch_has_1_to_100_items(api: Api, items: int) -> None:
    error = await refusal_of(api.create_batch(*[("a", "")] * items))
    assert (error.reason, error.field_violations[0].field) == ("INVALID_INPUT", "items")


async def test_a_batch_whose_response_would_be_too_large_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_batches, "MAX_BATCH_BYTES", 1_000)
    error = await refusal_of(api.create_batch(("x" * 600, ""), ("x" * 600, "")))
    assert error.reason == "TOO_LARGE"
    images = [job_pb2.InputImage(data=bytes(2_000))]
    done = await api.create_batch(("a", ""), input_images=images)
    assert done.results[0].refusal.field_violations[0].field == "input_images"
