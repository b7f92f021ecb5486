"""A tenant gets what its quota allows, counted over all gateways; a replay is never refused for it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from calotype.error_reasons import Code, Reason

from services.job.application import quotas
from services.job.domain.quotas import Quota, Rate
from services.job.domain.refusals import Refusal
from services.job.domain.requests import Priority
from tests.support.job_service.use_cases import JobUseCases, failed

FEW = Quota(requests_per_minute=3)


def refusal_of(desk: JobUseCases, *, quota: Quota, key: str = "", priority: Priority = Priority.NORMAL) -> Refusal:
    with pytest.raises(Refusal) as refused:
        desk.submit(quota=quota, key=key, priority=priority)
    assert refused.value.reason == "QUOTA_EXCEEDED"
    return refused.value


def take(desk: JobUseCases, per_minute: int, *, tenant: str = "acme") -> Rate | None:
    return desk.run(lambda c: quotas.count_request(c, tenant, per_minute))


def test_no_more_jobs_wait_than_may(desk: JobUseCases) -> None:
    for _ in range(2):
        desk.submit(quota=Quota(max_queued=2))
    refused = refusal_of(desk, quota=Quota(max_queued=2))

    assert refused.metadata == {"quota": "max_queued"}
    assert refused.retry_after_seconds == 5
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 2
    desk.claim()
    desk.submit(quota=Quota(max_queued=2))


def test_jobs_that_come_at_once_do_not_slip_past_each_other(desk: JobUseCases) -> None:
    def submit(_: int) -> bool:
        try:
            desk.submit(quota=Quota(max_queued=7))
        except Refusal:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(submit, range(20))) == 7
    assert desk.sql("SELECT count(*) AS n FROM jobs")[0].n == 7


def test_high_priority_is_for_few_and_the_others_go_on(desk: JobUseCases) -> None:
    quota = Quota(max_high_priority=1)
    desk.submit(quota=quota, priority=Priority.HIGH)
    assert refusal_of(desk, quota=quota, priority=Priority.HIGH).metadata == {"quota": "max_high_priority"}
    desk.claim()
    refusal_of(desk, quota=quota, priority=Priority.HIGH)

    desk.submit(quota=quota)
    desk.submit(quota=quota, tenant="other", priority=Priority.HIGH)


def test_jobs_beyond_max_in_flight_wait_until_the_quota_is_raised_or_lifted(desk: JobUseCases) -> None:
    for _ in range(5):
        desk.submit(quota=Quota(max_in_flight=2))
    assert len(desk.claim(5)) == 2
    assert desk.claim(5) == []
    desk.submit(quota=Quota(max_in_flight=3))
    assert len(desk.claim(5)) == 1
    desk.submit(quota=None)
    assert desk.claim(5) == []
    desk.submit(quota=Quota())
    assert len(desk.claim(9)) == 5


def test_requests_are_counted_and_the_rest_is_told(desk: JobUseCases) -> None:
    rates = [desk.submit(quota=FEW).rate for _ in range(3)]
    refused = refusal_of(desk, quota=FEW)

    assert [rate.remaining for rate in rates if rate] == [2, 1, 0]
    assert 50 < sum(rate.reset_seconds for rate in rates if rate) / 2 <= 60
    assert refused.metadata == {"quota": "requests_per_minute"}
    assert refused.retry_after_seconds is not None
    assert 5 < refused.retry_after_seconds <= 20


def test_the_allowance_fills_up_evenly(desk: JobUseCases) -> None:
    for _ in range(3):
        take(desk, 3)
    desk.sql("UPDATE tenant_rates SET full_at = full_at - interval '40 seconds'")

    assert (take(desk, 3), take(desk, 3)) == (
        Rate(remaining=1, reset_seconds=pytest.approx(40, abs=9)),
        Rate(remaining=0, reset_seconds=pytest.approx(60, abs=9)),
    )
    with pytest.raises(Refusal):
        take(desk, 3)
    desk.sql("UPDATE tenant_rates SET full_at = full_at - interval '1 day'")
    assert take(desk, 3) == Rate(remaining=2, reset_seconds=pytest.approx(20, abs=9))


def test_rivals_get_as_many_requests_as_there_are(desk: JobUseCases) -> None:
    def ask(_: int) -> bool:
        try:
            return take(desk, 9) is not None
        except Refusal:
            return False

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(ask, range(20))) == 9


def test_a_tenant_of_no_requests_gets_none(desk: JobUseCases) -> None:
    with pytest.raises(Refusal) as refused:
        take(desk, 0)
    assert refused.value.retry_after_seconds == 60


def test_one_tenants_requests_are_not_anothers(desk: JobUseCases) -> None:
    take(desk, 1)
    assert take(desk, 1, tenant="other") is not None


def test_a_replay_takes_nothing_and_is_never_refused(desk: JobUseCases) -> None:
    quota = Quota(max_queued=1, max_high_priority=1, requests_per_minute=1)
    first = desk.submit(quota=quota, key="k", priority=Priority.HIGH)
    again = desk.submit(quota=quota, key="k", priority=Priority.HIGH)

    assert again.replayed
    assert again.rate is None
    assert again.snapshot.job.id == first.snapshot.job.id


def test_a_refused_job_leaves_its_key_free_and_takes_no_request(desk: JobUseCases) -> None:
    desk.submit(quota=Quota(max_queued=1, requests_per_minute=2))
    refusal_of(desk, quota=Quota(max_queued=1, requests_per_minute=2), key="k")
    desk.claim()

    done = desk.submit(quota=Quota(max_queued=1, requests_per_minute=2), key="k")
    assert not done.replayed
    assert done.rate is not None
    assert done.rate.remaining == 0


def test_a_users_retry_needs_room_too(desk: JobUseCases) -> None:
    job = desk.create().job
    (claimed,) = desk.claim()
    desk.apply(failed(claimed.job, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED, retryable=False))
    desk.create()

    with pytest.raises(Refusal) as refused:
        desk.retry(job.id, quota=Quota(max_queued=1))
    assert refused.value.reason == "QUOTA_EXCEEDED"
    desk.claim()
    assert desk.retry(job.id, quota=Quota(max_queued=1)).job.retry_count == 1


def test_a_cancel_with_a_known_key_is_told_apart(desk: JobUseCases) -> None:
    job = desk.create().job
    desk.cancel(job.id, key="k")

    assert desk.sql("SELECT scope FROM idempotency_keys WHERE scope LIKE '%cancel'")[0].scope == f"jobs/{job.id}/cancel"
    assert desk.cancel(job.id, key="k").job.sequence == desk.get(job.id).job.sequence
