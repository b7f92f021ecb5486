"""A request that is repeated without a key joins the job of the first, whatever the two do to each other."""

from concurrent.futures import ThreadPoolExecutor

from common.sql import Connection
from services.job.application import submission
from services.job.domain.requests import JobRequest
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, failed
from tests.support.patience import PATIENCE

WINDOW = 900


def _ask(desk: JobUseCases, key: str, *, join: int = WINDOW, tenant: str = "acme", fingerprint: str = "f") -> str:
    return desk.create(tenant=tenant, key=key, fingerprint=fingerprint, join=join).job.id


def test_a_repetition_joins_the_newest_job_of_its_body(desk: JobUseCases) -> None:
    first, second = _ask(desk, "a", join=0), _ask(desk, "b", join=0)

    assert first != second
    assert _ask(desk, "c") == second


def test_a_first_request_joins_nothing(desk: JobUseCases) -> None:
    assert len({_ask(desk, key, join=0) for key in "abc"}) == 3


def test_another_tenant_or_another_body_is_not_joined(desk: JobUseCases) -> None:
    first = _ask(desk, "a", join=0)

    assert _ask(desk, "b", tenant="other") != first
    assert _ask(desk, "c", fingerprint="g") != first


def test_a_job_is_joined_whatever_its_state(desk: JobUseCases) -> None:
    job, _ = desk.generate(key="a", fingerprint="f")
    desk.apply(failed(job, retryable=False))

    joined = desk.create(key="b", fingerprint="f", join=WINDOW).job
    assert (joined.id, joined.state) == (job.id, State.FAILED)


def test_a_deleted_job_is_not_joined(desk: JobUseCases) -> None:
    first = _ask(desk, "a", join=0)
    desk.cancel(first)
    desk.delete(first)

    assert _ask(desk, "b") != first


def test_who_repeats_after_the_time_gets_a_new_job(desk: JobUseCases) -> None:
    first = _ask(desk, "a", join=0)
    desk.sql("UPDATE idempotency_keys SET created_at = created_at - interval '901 seconds'")

    assert _ask(desk, "b") != first


def test_every_repetition_begins_the_time_anew(desk: JobUseCases) -> None:
    first = _ask(desk, "a", join=0)
    for key in ("b", "c", "d"):
        desk.sql("UPDATE idempotency_keys SET created_at = created_at - interval '600 seconds'")
        assert _ask(desk, key) == first


def test_a_repetition_that_is_asked_again_by_its_own_key_gets_its_job(desk: JobUseCases) -> None:
    first = _ask(desk, "a", join=0)
    _ask(desk, "b")
    _ask(desk, "c", join=0)

    assert desk.create(key="b", fingerprint="f").job.id == first


def test_a_repetition_waits_for_a_first_request_that_is_still_being_written(desk: JobUseCases) -> None:
    new = submission.NewJob(
        tenant="acme",
        idempotency_key="a",
        fingerprint="f",
        request=JobRequest(prompt="a harbour"),
        join_within_seconds=0,
    )
    with ThreadPoolExecutor(1) as thread:

        def slow(connection: Connection) -> str:
            done = submission.create_job(connection, new)
            waiting.append(thread.submit(_ask, desk, "b"))
            desk.await_blocked()
            return done.snapshot.job.id

        waiting: list[object] = []
        first = desk.run(slow)
        [repetition] = waiting
        assert repetition.result(timeout=PATIENCE) == first  # type: ignore[attr-defined]
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 1


def test_many_repetitions_at_once_make_one_job(desk: JobUseCases) -> None:
    with ThreadPoolExecutor(20) as threads:
        found = set(threads.map(lambda place: _ask(desk, f"k{place}"), range(20)))

    assert len(found) == 1
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 1
