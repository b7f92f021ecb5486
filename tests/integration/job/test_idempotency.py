"""The same key and body give the same job, whoever asks, however often, at whatever time."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import idempotency
from tests.support.job_service.use_cases import JobUseCases, failed


def test_fifty_concurrent_creates_with_one_key_give_one_job(desk: JobUseCases) -> None:
    with ThreadPoolExecutor(50) as threads:
        seen = list(threads.map(lambda _: desk.create(key="k", fingerprint="f"), range(50)))

    assert len({one.job.id for one in seen}) == 1
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 1
    assert desk.sql("SELECT count(*) AS n FROM job_events")[0].n == 1
    assert desk.sql("SELECT count(*) AS n FROM outbox")[0].n == 1


def test_the_same_key_with_another_body_is_refused(desk: JobUseCases) -> None:
    desk.create(key="k", fingerprint="f")

    with pytest.raises(Refusal) as refusal:
        desk.create(key="k", fingerprint="g")
    assert refusal.value.reason == "IDEMPOTENCY_KEY_REUSED"


def test_a_key_is_its_tenants_own(desk: JobUseCases) -> None:
    jobs = {desk.create(tenant=tenant, key="k", fingerprint=tenant).job.id for tenant in ("acme", "other")}

    assert len(jobs) == 2


def test_a_refused_request_does_not_use_its_key_up(desk: JobUseCases) -> None:
    with pytest.raises(Refusal):
        desk.create(key="k", fingerprint="f", n=11)
    seen = desk.create(key="k", fingerprint="g")

    assert seen.job.state is State.QUEUED


def test_a_replay_shows_the_job_as_it_is_now(desk: JobUseCases) -> None:
    desk.create(key="k", fingerprint="f")
    desk.claim()

    assert desk.create(key="k", fingerprint="f").job.state is State.PROCESSING


def test_a_replay_after_deletion_is_gone_and_makes_no_new_job(desk: JobUseCases) -> None:
    job = desk.create(key="k", fingerprint="f").job
    desk.cancel(job.id)
    desk.delete(job.id)

    with pytest.raises(Refusal) as refusal:
        desk.create(key="k", fingerprint="f")
    assert refusal.value.reason == "JOB_DELETED"
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 1


def test_a_retry_with_one_key_counts_once(desk: JobUseCases) -> None:
    job, _ = desk.generate()
    desk.apply(failed(job, retryable=False))
    for _ in range(3):
        desk.retry(job.id, key="again")

    assert desk.job(job.id).retry_count == 1


def _keys(desk: JobUseCases) -> list[str]:
    return [row.key for row in desk.sql("SELECT key FROM idempotency_keys")]


@pytest.fixture
def mixed(desk: JobUseCases) -> Iterator[JobUseCases]:
    """As long as a job-service of the version before may run beside this one."""
    desk.sql("UPDATE idempotency_digests SET since = clock_timestamp() + interval '1 day'")
    yield desk
    _no_more_mixed(desk)


def _no_more_mixed(desk: JobUseCases) -> None:
    desk.sql("UPDATE idempotency_digests SET since = clock_timestamp()")


def test_a_key_is_kept_as_a_digest_alone(desk: JobUseCases) -> None:
    job = desk.create(key="ada@example.org", fingerprint="f").job
    desk.cancel(job.id, key="ada@example.org")

    assert all(re.fullmatch("sha256 [0-9a-f]{64}", key) for key in _keys(desk))
    # Each use of a key is a digest of its own: equal keys cannot be told by it.
    assert len(set(_keys(desk))) == 2


def test_what_is_kept_of_a_key_is_no_key_itself(desk: JobUseCases) -> None:
    desk.create(key="k", fingerprint="f")
    [kept] = _keys(desk)

    assert not all("!" <= one <= "~" for one in kept)


def test_a_key_that_the_version_before_wrote_is_found(mixed: JobUseCases) -> None:
    job = mixed.create(key="k", fingerprint="f").job

    assert _keys(mixed) == ["k"]
    _no_more_mixed(mixed)
    assert mixed.create(key="k", fingerprint="f").job.id == job.id


def test_keys_are_replaced_once_no_version_before_can_look_for_them(mixed: JobUseCases) -> None:
    job = mixed.create(key="k", fingerprint="f").job

    assert mixed.run(lambda connection: idempotency.replace_keys(connection, limit=10)) == 0
    _no_more_mixed(mixed)
    assert mixed.run(lambda connection: idempotency.replace_keys(connection, limit=10)) == 1
    assert mixed.run(lambda connection: idempotency.replace_keys(connection, limit=10)) == 0
    assert _keys(mixed) == [idempotency.digest(idempotency.Key(tenant="acme", scope="jobs", key="k"))]
    assert mixed.create(key="k", fingerprint="f").job.id == job.id


def test_a_key_is_taken_once_while_both_versions_take_it(mixed: JobUseCases) -> None:
    """The version before writes without a lock, and waits for the row alone."""
    with ThreadPoolExecutor(20) as threads:
        seen = list(threads.map(lambda _: mixed.create(key="k", fingerprint="f"), range(20)))
    taken = mixed.sql(
        """INSERT INTO idempotency_keys (tenant, scope, key, fingerprint, job_id, created_at)
        VALUES ('acme', 'jobs', 'k', 'f', 'job_other', clock_timestamp()) ON CONFLICT DO NOTHING RETURNING job_id"""
    )

    assert len({one.job.id for one in seen}) == 1
    assert taken == []
