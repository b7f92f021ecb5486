"""What a job is said to wait for is what keeps a claim from it: both are asked at once, under each condition."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from calotype.error_reasons import Code, Reason

from common.sql import Connection, text
from services.job.application import waits
from services.job.application.provider_calls import record_operation
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.failures import Stage
from services.job.domain.jobs import Job
from services.job.domain.pauses import PauseKind
from services.job.domain.quotas import Quota
from services.job.domain.wait_reasons import Wait, WaitReason
from services.job.store import pauses
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, failed, generated, stored

ONE = replace(PAID, max_concurrency=1)
PER_MINUTE = replace(PAID, requests_per_minute=1)
OPEN = """
INSERT INTO breakers (provider, model, failures, code, reason, opened_at, open_until)
VALUES ('paid', 'flux', 5, 'TEMPORARY', 'PROVIDER_UNAVAILABLE', clock_timestamp(),
    clock_timestamp() + make_interval(secs => :seconds))
"""
COPY_JOB = """
INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object('id', 'job_' || lpad(to_hex(n), 32, '0')))).*
FROM jobs, generate_series(1, 10000) AS n WHERE id = :id
"""
COPY_CALLS = """
INSERT INTO provider_calls SELECT (jsonb_populate_record(provider_calls, jsonb_build_object(
    'id', 'call_' || lpad(to_hex(n), 32, '0'), 'idempotency_key', 'key_' || n, 'phase', 'failed',
    'job_id', 'job_' || lpad(to_hex(n), 32, '0'),
    'created_at', clock_timestamp() - interval '1 day', 'settled_at', clock_timestamp()))).*
FROM provider_calls, generate_series(1, 10000) AS n WHERE job_id = :id
"""
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
"""


def wait_of(desk: JobUseCases, job: Job) -> Wait:
    """Why the job waits now."""
    wait = desk.get(job.id).wait
    assert wait is not None
    return wait


def new(desk: JobUseCases, **request: object) -> Job:
    """A new job for `paid`."""
    return desk.create(**{"provider": "paid", **request}).job


def due(desk: JobUseCases) -> Job:
    return new(desk)


def fails_once(desk: JobUseCases, code: Code, reason: Reason, *, after: float | None = None) -> Job:
    job, call = desk.generate(provider="paid")
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.FAILED, code=code, reason=reason)
    desk.apply(failed(job, code=code, reason=reason, retryable=True, retry_after_seconds=after, calls=(outcome,)))
    return desk.job(job.id)


def retry(desk: JobUseCases) -> Job:
    return fails_once(desk, Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE, after=20)


def named_limit(desk: JobUseCases) -> Job:
    return fails_once(desk, Code.RATE_LIMIT, Reason.PROVIDER_RATE_LIMIT, after=20)


def concurrency(desk: JobUseCases) -> Job:
    desk.register(FREE, ONE)
    desk.generate(provider="paid")
    return new(desk)


def rate(desk: JobUseCases) -> Job:
    desk.register(FREE, PER_MINUTE)
    desk.generate(provider="paid")
    return new(desk)


def down(desk: JobUseCases) -> Job:
    desk.sql(OPEN, seconds=30)
    return new(desk)


def down_and_its_fallback_too(desk: JobUseCases) -> Job:
    desk.sql(OPEN, seconds=60)
    desk.sql(OPEN.replace("'paid', 'flux'", "'procedural', 'v1'"), seconds=30)
    return new(desk, fallback=("procedural",))


def fallback_works(desk: JobUseCases) -> Job:
    desk.sql(OPEN, seconds=30)
    return new(desk, fallback=("procedural",))


def probe_due(desk: JobUseCases) -> Job:
    desk.sql(OPEN, seconds=-1)
    return new(desk)


def probe_running(desk: JobUseCases) -> Job:
    desk.sql(OPEN, seconds=-1)
    new(desk)
    assert desk.claim()
    return new(desk)


def tenant_limit(desk: JobUseCases) -> Job:
    desk.submit(provider="paid", quota=Quota(max_in_flight=1))
    assert desk.claim()
    return desk.submit(provider="paid", quota=Quota(max_in_flight=1)).snapshot.job


def no_generator(desk: JobUseCases) -> Job:
    job = new(desk)
    desk.sql("UPDATE registrations SET registered_at = clock_timestamp() - interval '1 hour' WHERE name = 'paid'")
    return job


def provider_paused(desk: JobUseCases) -> Job:
    desk.run(lambda c: pauses.pause(c, PauseKind.PROVIDER, "paid", note="", by="ops"))
    return new(desk)


def provider_paused_but_not_its_fallback(desk: JobUseCases) -> Job:
    desk.run(lambda c: pauses.pause(c, PauseKind.PROVIDER, "paid", note="", by="ops"))
    return new(desk, fallback=("procedural",))


def tenant_paused(desk: JobUseCases) -> Job:
    desk.run(lambda c: pauses.pause(c, PauseKind.TENANT, "acme", note="", by="ops"))
    return new(desk)


def queue_paused(desk: JobUseCases) -> Job:
    desk.run(lambda c: pauses.pause(c, PauseKind.QUEUE, "", note="", by="ops"))
    return new(desk)


def resumed(desk: JobUseCases) -> Job:
    job = queue_paused(desk)
    desk.run(lambda c: pauses.resume(c, PauseKind.QUEUE, ""))
    return job


def paused_while_its_operation_runs(desk: JobUseCases) -> Job:
    job = operation_runs(desk)
    queue_paused(desk)
    return job


def operation_runs(desk: JobUseCases) -> Job:
    desk.register(FREE, ONE)
    job, call = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, call.id, operation_id="op-1", state={}))
    desk.release(job)
    desk.sql(OPEN, seconds=30)
    return desk.job(job.id)


CONDITIONS = {
    due: WaitReason.WORKER,
    retry: WaitReason.RETRY,
    named_limit: WaitReason.PROVIDER_LIMIT,
    concurrency: WaitReason.PROVIDER_LIMIT,
    rate: WaitReason.PROVIDER_RATE,
    down: WaitReason.PROVIDER_DOWN,
    down_and_its_fallback_too: WaitReason.PROVIDER_DOWN,
    fallback_works: WaitReason.WORKER,
    probe_due: WaitReason.WORKER,
    probe_running: WaitReason.PROVIDER_DOWN,
    tenant_limit: WaitReason.TENANT_LIMIT,
    no_generator: WaitReason.NO_GENERATOR,
    operation_runs: WaitReason.WORKER,
    provider_paused: WaitReason.PAUSED,
    provider_paused_but_not_its_fallback: WaitReason.WORKER,
    tenant_paused: WaitReason.PAUSED,
    queue_paused: WaitReason.PAUSED,
    resumed: WaitReason.WORKER,
    paused_while_its_operation_runs: WaitReason.WORKER,
}


@pytest.mark.parametrize(("condition", "reason"), CONDITIONS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_claim_takes_a_job_exactly_if_it_waits_for_nothing_but_a_worker(
    desk: JobUseCases, condition: Callable[[JobUseCases], Job], reason: WaitReason
) -> None:
    job = condition(desk)
    live = [
        row.name for row in desk.sql("SELECT name FROM registrations WHERE registered_at > now() - interval '90 s'")
    ]
    wait, claimed = wait_of(desk, job), desk.claim(4, only=live)

    assert wait.reason is reason
    assert (job.id in [found.job.id for found in claimed]) == (reason is WaitReason.WORKER)


def test_a_wait_says_until_when_and_after_what(desk: JobUseCases) -> None:
    job = retry(desk)
    wait = wait_of(desk, job)

    assert wait.next_try_at == job.run_at
    assert wait.failure is not None
    assert (wait.failure.code, wait.failure.reason) == (Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE)


def test_a_provider_that_is_down_is_tried_again_at_its_next_probe(desk: JobUseCases) -> None:
    job = down(desk)
    [row] = desk.sql("SELECT open_until FROM breakers")
    wait = wait_of(desk, job)

    assert (wait.provider, wait.next_try_at) == ("paid", row.open_until)
    assert wait.failure is not None
    assert wait.failure.reason == Reason.PROVIDER_UNAVAILABLE


def test_a_retry_later_than_the_probe_waits_for_itself(desk: JobUseCases) -> None:
    job = retry(desk)
    desk.sql("DELETE FROM breakers")
    desk.sql(OPEN, seconds=1)

    assert wait_of(desk, job).reason is WaitReason.RETRY
    desk.sql("UPDATE breakers SET open_until = open_until + interval '1 hour'")
    assert wait_of(desk, job).reason is WaitReason.PROVIDER_DOWN


def test_limits_are_named(desk: JobUseCases) -> None:
    assert wait_of(desk, concurrency(desk)).limit == 1
    desk.sql("DELETE FROM jobs")
    desk.sql("DELETE FROM provider_calls")
    by_rate = wait_of(desk, rate(desk))
    [call] = desk.sql("SELECT created_at + interval '60 s' AS free_at FROM provider_calls")

    assert (by_rate.provider, by_rate.limit, by_rate.next_try_at) == ("paid", 1, call.free_at)


def test_a_held_job_waits_only_once_its_worker_is_lost(desk: JobUseCases) -> None:
    job, _ = desk.generate()

    assert desk.get(job.id).wait is None
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 s'")
    assert wait_of(desk, job).reason is WaitReason.WORKER_LOST


def test_an_upload_waits_for_its_worker_or_its_next_try(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(generated(job, call))
    assert wait_of(desk, job).reason is WaitReason.WORKER
    [claimed] = desk.claim_uploads()
    desk.apply(failed(claimed.job, stage=Stage.UPLOADING, reason=Reason.STORAGE_UNAVAILABLE, retry_after_seconds=20))
    wait = wait_of(desk, job)

    assert (wait.reason, wait.next_try_at) == (WaitReason.RETRY, desk.job(job.id).run_at)
    assert wait.failure is not None
    assert wait.failure.reason == Reason.STORAGE_UNAVAILABLE


def test_a_final_job_waits_for_nothing(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))

    assert desk.get(job.id).wait is None


def test_what_is_read_does_not_grow_with_jobs_and_calls(desk: JobUseCases) -> None:
    job, _ = desk.generate(provider="paid")
    desk.apply(failed(job))
    desk.sql(COPY_JOB, id=job.id)
    desk.sql(COPY_CALLS, id=job.id)
    desk.sql("ANALYZE jobs, attempts, provider_calls, breakers, registrations, providers")

    def read(connection: Connection) -> int:
        before = connection.execute(text(ROWS_READ)).scalar_one()
        assert waits.wait_of(connection, desk.on(connection).job(job.id)) is not None
        return int(connection.execute(text(ROWS_READ)).scalar_one() - before)

    assert desk.run(read) < 50
