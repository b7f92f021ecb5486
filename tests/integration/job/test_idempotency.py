"""The same key and body give the same job, whoever asks, however often, at whatever time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.job.domain.failures import Refusal
from services.job.domain.states import State
from tests.support.jobs import JobDesk, failed


def test_fifty_concurrent_creates_with_one_key_give_one_job(desk: JobDesk) -> None:
    with ThreadPoolExecutor(50) as threads:
        seen = list(threads.map(lambda _: desk.create(key="k", fingerprint="f"), range(50)))

    assert len({one.job.id for one in seen}) == 1
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 1
    assert desk.sql("SELECT count(*) AS n FROM job_events")[0].n == 1
    assert desk.sql("SELECT count(*) AS n FROM outbox")[0].n == 1


def test_the_same_key_with_another_body_is_refused(desk: JobDesk) -> None:
    desk.create(key="k", fingerprint="f")

    with pytest.raises(Refusal) as refusal:
        desk.create(key="k", fingerprint="g")
    assert refusal.value.reason == "IDEMPOTENCY_KEY_REUSED"


def test_a_key_is_its_tenants_own(desk: JobDesk) -> None:
    jobs = {desk.create(tenant=tenant, key="k", fingerprint=tenant).job.id for tenant in ("acme", "other")}

    assert len(jobs) == 2


def test_a_refused_request_does_not_use_its_key_up(desk: JobDesk) -> None:
    with pytest.raises(Refusal):
        desk.create(key="k", fingerprint="f", n=11)
    seen = desk.create(key="k", fingerprint="g")

    assert seen.job.state is State.QUEUED


def test_a_replay_shows_the_job_as_it_is_now(desk: JobDesk) -> None:
    desk.create(key="k", fingerprint="f")
    desk.claim()

    assert desk.create(key="k", fingerprint="f").job.state is State.PROCESSING


def test_a_replay_after_deletion_is_gone_and_makes_no_new_job(desk: JobDesk) -> None:
    job = desk.create(key="k", fingerprint="f").job
    desk.cancel(job.id)
    desk.delete(job.id)

    with pytest.raises(Refusal) as refusal:
        desk.create(key="k", fingerprint="f")
    assert refusal.value.reason == "JOB_DELETED"
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 1


def test_a_retry_with_one_key_counts_once(desk: JobDesk) -> None:
    job, _ = desk.generate()
    desk.fold(failed(job, retryable=False))
    for _ in range(3):
        desk.retry(job.id, key="again")

    assert desk.job(job.id).retry_count == 1
