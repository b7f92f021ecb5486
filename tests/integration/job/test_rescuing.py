"""Jobs that nobody moves are tried again or given up; jobs that somebody moves are left alone."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from calotype.error_reasons import Code, Reason
from nats.errors import TimeoutError as BrokerTimeoutError

from common.jetstream import JetStream
from common.postgres import Database
from services.job.application import provider_calls, stale_jobs
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.facts import LedgerSettled
from services.job.domain.failures import Stage
from services.job.domain.jobs import Job
from services.job.domain.states import State
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.outbox_relay import OutboxRelay
from services.job.loops.stale_job_monitor import MAX_LEASES_WAITED, StaleJobMonitor
from tests.support.job_service.use_cases import JobUseCases, failed, generated, image_of, succeeded
from tests.support.timing.clocks import DatabaseClock

EXPIRE = "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE lease_token IS NOT NULL"
LEASE, INTERVAL = StageTimeouts().lease_seconds, 5.0
PAGE = 3


def rescue(desk: JobUseCases) -> dict[str, int]:
    """Note candidates and act on them at once."""
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    changes = desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits))
    return dict(Counter(str(change.transition) for change in changes))


def crash(desk: JobUseCases) -> dict[str, int]:
    """Every worker vanishes; the monitor looks."""
    desk.sql(EXPIRE)
    return rescue(desk)


def held(desk: JobUseCases, **request: Any) -> Job:
    """A job that was claimed, with nothing sent."""
    desk.create(**request)
    [claimed] = desk.claim()
    return claimed.job


def reason_of(job: Job) -> tuple[Stage, Code, str]:
    """Stage, code and reason of a failed job."""
    assert job.failure is not None
    return job.failure.stage, job.failure.code, job.failure.reason


def test_a_job_whose_worker_renews_is_left_alone(desk: JobUseCases) -> None:
    job = held(desk)

    assert rescue(desk) == {}
    assert desk.job(job.id) == job


def test_a_crashed_generators_job_goes_back_at_once_and_wakes_a_worker(desk: JobUseCases) -> None:
    job = held(desk)

    assert crash(desk) == {"job.requeued": 1}
    assert desk.job(job.id).state is State.QUEUED
    assert [one.job.id for one in desk.claim()] == [job.id]
    [row] = desk.sql("SELECT wake FROM outbox WHERE sequence = 3")
    [attempt] = desk.sql("SELECT outcome, failure FROM attempts WHERE claim_number = 1")
    assert row.wake == "generate"
    assert (attempt.outcome, attempt.failure["reason"]) == ("rescued", "WORKER_LOST")


@pytest.mark.parametrize("sent", [False, True], ids=["processing", "generating"])
def test_crashes_without_an_open_call_end_with_the_budget_in_the_stage_it_had(desk: JobUseCases, sent: bool) -> None:
    desk.create(provider="paid")
    for _ in range(3):
        [claimed] = desk.claim()
        if sent:
            call = desk.begin(claimed.job)
            ended = CallOutcome(call_id=call.id, phase=CallPhase.FAILED)
            desk.apply(LedgerSettled(job_id=claimed.job.id, calls=(ended,), images=()))
        crash(desk)
    job = desk.job(claimed.job.id)

    assert job.state is State.FAILED
    assert reason_of(job) == (Stage.GENERATING if sent else Stage.PROCESSING, Code.TEMPORARY, "WORKER_LOST")


def test_a_crash_with_an_open_call_is_the_claimers_to_decide_and_costs_no_budget(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    for _ in range(5):
        assert crash(desk) == {"job.requeued": 1}
        [claimed] = desk.claim()
        assert [one.id for one in claimed.calls] == [call.id]
    after = desk.job(job.id)

    assert dict(after.failure_counts) == {"recoveries": 5}
    # Five times is enough: what follows counts as any other crash.
    crash(desk)
    assert dict(desk.job(job.id).failure_counts) == {"recoveries": 5, "generating/TEMPORARY": 1}


def test_an_expired_claim_whose_images_are_all_staged_goes_on(desk: JobUseCases) -> None:
    job, call = desk.generate()
    made = LedgerSettled(job_id=job.id, calls=(succeeded(call),), images=(image_of(job, call, 0),))
    desk.apply(made)

    assert crash(desk) == {"job.uploading": 1}
    assert desk.job(job.id).state is State.UPLOADING


@pytest.mark.parametrize(("state", "longest"), [("processing", 60 + 30), ("generating", 600 + 30)])
def test_a_claim_that_takes_too_long_is_ended_and_counted(desk: JobUseCases, state: str, longest: int) -> None:
    if state == "processing":
        job = held(desk)
    else:
        job, call = desk.generate()
        desk.apply(
            LedgerSettled(job_id=job.id, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),), images=())
        )
    since = "UPDATE jobs SET generating_since = clock_timestamp() - make_interval(secs => :seconds)"
    # Half a minute before, as nobody knows how long a busy machine takes until the next look.
    desk.sql(since, seconds=longest - 30)
    assert rescue(desk) == {}
    desk.sql(since, seconds=longest + 1)

    assert rescue(desk) == {"job.requeued": 1}
    assert dict(desk.job(job.id).failure_counts) == {"generating/TIMEOUT": 1}


def test_a_crashed_uploader_costs_an_upload_and_no_generation(desk: JobUseCases) -> None:
    job = desk.upload(provider="paid")

    assert crash(desk) == {"job.upload_requeued": 1}
    after = desk.job(job.id)
    assert (after.state, after.lease, after.attempt_count) == (State.UPLOADING, None, 1)
    assert [one.job.id for one in desk.claim_uploads()] == [job.id]


def test_uploads_that_crash_for_ever_fail_as_uploads(desk: JobUseCases) -> None:
    job = desk.upload()
    for _ in range(3):
        crash(desk)
        desk.claim_uploads()

    assert reason_of(desk.job(job.id)) == (Stage.UPLOADING, Code.TEMPORARY, "WORKER_LOST")


def test_an_uploader_that_never_ends_is_ended_and_counted(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(generated(job, call))
    for _ in range(3):
        desk.claim_uploads()
        desk.sql("UPDATE jobs SET locked_at = locked_at - interval '151 s'")
        rescue(desk)
        desk.sql("UPDATE jobs SET run_at = clock_timestamp()")

    assert reason_of(desk.job(job.id)) == (Stage.UPLOADING, Code.TIMEOUT, "STAGE_TIMEOUT")
    assert desk.retry(job.id).job.state is State.UPLOADING


def test_to_wait_for_an_uploader_is_no_try_and_has_its_own_limit(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(generated(job, call))
    waits = "UPDATE jobs SET uploading_since = clock_timestamp() - make_interval(secs => :seconds), run_at = run_at"
    desk.sql(waits + " - interval '1 day'", seconds=86_000)
    assert rescue(desk) == {}
    desk.sql(waits, seconds=86_401)
    assert rescue(desk) == {"job.failed": 1}

    assert reason_of(desk.job(job.id)) == (Stage.UPLOADING, Code.TIMEOUT, "STAGE_TIMEOUT")
    assert desk.retry(job.id).job.state is State.UPLOADING


@pytest.mark.parametrize(
    "change",
    [
        "queued_at = clock_timestamp() - interval '86401 s'",
        "claim_number = 1, queued_seconds = 86000, queued_at = clock_timestamp() - interval '401 s'",
        "start_by = clock_timestamp() - interval '1 s'",
        "finish_by = clock_timestamp() - interval '1 s'",
    ],
)
def test_a_job_that_waits_too_long_fails_as_queued(desk: JobUseCases, change: str) -> None:
    job = desk.create().job
    desk.sql(f"UPDATE jobs SET {change}")

    assert rescue(desk) == {"job.failed": 1}
    assert reason_of(desk.job(job.id)) == (Stage.QUEUED, Code.TIMEOUT, "DEADLINE_EXCEEDED")


def test_a_job_that_started_in_time_has_met_its_start(desk: JobUseCases) -> None:
    desk.release(held(desk, start_within_seconds=60))
    desk.sql("UPDATE jobs SET start_by = clock_timestamp() - interval '1 s'")

    assert rescue(desk) == {}


def test_a_job_that_moved_since_it_was_noted_is_left_alone(desk: JobUseCases) -> None:
    job = held(desk)
    desk.sql(EXPIRE)
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    desk.begin(job)
    desk.sql(EXPIRE)

    assert desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits)) == []
    assert desk.job(job.id).state is State.GENERATING


def test_a_job_whose_worker_renewed_after_all_is_left_alone(desk: JobUseCases) -> None:
    held(desk)
    desk.sql(EXPIRE)
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '30 s'")

    assert desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits)) == []


def test_two_monitors_act_once(desk: JobUseCases) -> None:
    job = held(desk)
    desk.sql(EXPIRE)
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits))
    acted = [desk.run(lambda c: stale_jobs.rescue(c, noted, limits=desk.limits)) for _ in range(2)]

    assert [[change.transition for change in changes] for changes in acted] == [["job.requeued"], []]
    assert desk.job(job.id).sequence == 3


def test_many_crashes_do_not_keep_a_deadline_waiting(desk: JobUseCases) -> None:
    for _ in range(3):
        held(desk)
    desk.upload()
    desk.sql(EXPIRE)
    late = desk.create(start_within_seconds=60).job
    desk.sql("UPDATE jobs SET start_by = clock_timestamp() - interval '1 s' WHERE state = 'queued'")
    noted = desk.run(lambda c: stale_jobs.candidates(c, desk.limits, limit=2))

    assert late.id in {one.job_id for one in noted}
    assert len(noted) == 4


@dataclass
class FakeBroker:
    """What the monitor asks of a broker: how many facts were told, and how many are folded."""

    told: int = 0
    folded: int = 0
    away: bool = False
    #: The oldest that is kept although it is folded.
    kept: int | None = None
    deleted_up_to: list[int] = field(default_factory=list)

    async def ack_floor(self, stream: str, durable: str) -> int:
        if self.away:
            raise BrokerTimeoutError
        return self.folded

    async def sequences(self, stream: str) -> tuple[int, int]:
        if self.away:
            raise BrokerTimeoutError
        return self.kept or self.folded + 1, self.told

    async def delete_up_to(self, stream: str, sequence: int) -> None:
        self.deleted_up_to.append(sequence)
        self.kept = None


@dataclass
class Watch:
    """A monitor, with time and broker in the test's hands."""

    monitor: StaleJobMonitor
    broker: FakeBroker
    now: Callable[[float], None]
    database: DatabaseClock

    async def tick(self, seconds: float = INTERVAL) -> dict[str, int]:
        """Let time pass, then tick."""
        self.now(seconds)
        return dict(await self.monitor.run_once())

    async def lease(self) -> list[dict[str, int]]:
        """What is done in the time of a lease."""
        return [await self.tick() for _ in range(int(LEASE / INTERVAL))]


@pytest.fixture(scope="module")
def database_clock(module_database: str) -> DatabaseClock:
    """The clock of this module's database; it goes on unless told to stand."""
    return DatabaseClock(module_database)


@pytest.fixture
def database_url(database_clock: DatabaseClock, database_url: str) -> str:
    """The module's database, whose clock is set up before anybody connects."""
    return database_url


@pytest.fixture
async def watch(database_clock: DatabaseClock, desk: JobUseCases, database_url: str) -> AsyncIterator[Watch]:
    """A monitor that has looked for a while; its clock and the database's move with its ticks only."""
    database, broker, clock = Database(database_url, application="test", pool_size=1), FakeBroker(), [1000.0]
    database_clock.stand()

    def pass_by(seconds: float) -> None:
        clock[0] += seconds
        database_clock.pass_by(seconds)

    monitor = StaleJobMonitor(
        database,
        cast(JetStream, broker),
        OutboxRelay(database, cast(JetStream, broker)),
        desk.limits,
        interval_seconds=INTERVAL,
        page=PAGE,
        clock=lambda: clock[0],
    )
    watch = Watch(monitor, broker, pass_by, database_clock)
    await watch.tick()
    await watch.lease()
    yield watch
    await database.close()
    database_clock.go()


async def test_the_monitor_notes_first_and_acts_at_its_next_tick(desk: JobUseCases, watch: Watch) -> None:
    held(desk)
    desk.sql(EXPIRE)

    assert await watch.tick() == {}
    assert await watch.tick() == {"job.requeued": 1}


async def test_facts_that_are_folded_and_kept_all_the_same_are_deleted(watch: Watch) -> None:
    watch.broker.told, watch.broker.folded, watch.broker.kept = 9, 7, 3
    await watch.tick()
    await watch.tick()

    assert watch.broker.deleted_up_to == [7]


async def test_nothing_is_deleted_of_a_stream_that_began_anew_meanwhile(watch: Watch) -> None:
    watch.broker.told, watch.broker.folded, watch.broker.kept = 3, 7, 1
    await watch.tick()

    assert watch.broker.deleted_up_to == []


async def test_the_monitor_goes_on_while_pages_are_full(desk: JobUseCases, watch: Watch) -> None:
    for _ in range(3 * PAGE + 1):
        held(desk)
    desk.sql(EXPIRE)

    assert await watch.tick() == {}
    assert await watch.tick() == {"job.requeued": 3 * PAGE}
    assert await watch.tick() == {"job.requeued": 1}


async def test_the_monitor_waits_for_facts_that_were_told_before_it_noted(desk: JobUseCases, watch: Watch) -> None:
    job, call = desk.generate()
    desk.sql(EXPIRE)
    watch.broker.told = 7
    quiet = [await watch.tick() for _ in range(3)]
    desk.apply(generated(job, call))
    watch.broker.folded = 7

    assert quiet == [{}, {}, {}]
    assert await watch.tick() == {}
    assert desk.job(job.id).state is State.UPLOADING


async def test_facts_that_keep_coming_do_not_stop_the_monitor(desk: JobUseCases, watch: Watch) -> None:
    held(desk)
    desk.sql(EXPIRE)
    acted = []
    for _ in range(5):
        # Always 10 facts behind, 4 of them folded per tick.
        watch.broker.told, watch.broker.folded = watch.broker.told + 4, watch.broker.told - 6
        acted.append(await watch.tick())

    assert {"job.requeued": 1} in acted


async def test_a_fact_that_cannot_be_folded_does_not_stop_the_monitor_for_ever(desk: JobUseCases, watch: Watch) -> None:
    held(desk)
    desk.sql(EXPIRE)
    watch.broker.told = 1
    ticks = int(MAX_LEASES_WAITED * desk.limits.lease_seconds / INTERVAL)
    quiet = [await watch.tick() for _ in range(ticks)]

    assert not any(quiet)
    assert [await watch.tick() for _ in range(2)] == [{}, {"job.requeued": 1}]


async def test_a_stream_that_begins_anew_is_not_waited_for(desk: JobUseCases, watch: Watch) -> None:
    held(desk)
    desk.sql(EXPIRE)
    watch.broker.told = 1000
    await watch.tick()
    watch.broker.told = 0

    assert await watch.tick() == {"job.requeued": 1}


@pytest.mark.parametrize("trouble", ["a pause", "a broker that was away"])
async def test_after_trouble_workers_first_get_the_time_of_a_lease(
    desk: JobUseCases, watch: Watch, trouble: str
) -> None:
    held(desk)
    desk.sql(EXPIRE)
    await watch.tick()
    if trouble == "a pause":
        acted = [await watch.tick(60)]
    else:
        watch.broker.away = True
        acted = [await watch.tick()]
        watch.broker.away = False
    acted += [await watch.tick() for _ in range(5)]

    assert not any(acted)
    assert {"job.requeued": 1} in [await watch.tick() for _ in range(2)]


@pytest.mark.parametrize(("seconds", "left"), [(15.0, 10.0), (600.0, 20.0), (-15.0, -1.0)])
async def test_after_a_step_of_the_databases_clock_workers_first_get_the_time_of_a_lease(
    desk: JobUseCases, watch: Watch, seconds: float, left: float
) -> None:
    held(desk)
    await watch.tick()
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => :left)", left=left)
    watch.database.pass_by(seconds)
    acted = await watch.lease()

    assert not any(acted)
    desk.sql(EXPIRE)
    assert {"job.requeued": 1} in [await watch.tick() for _ in range(3)]


async def test_a_step_between_the_look_and_the_act_is_noticed_before_anything_is_taken(
    desk: JobUseCases, watch: Watch
) -> None:
    held(desk)
    desk.sql(EXPIRE)
    await watch.tick()
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '12 s'")
    watch.database.pass_by(15)

    assert await watch.tick() == {}


async def test_a_monitor_that_has_just_started_takes_nothing_for_the_time_of_a_lease(
    desk: JobUseCases, database_url: str
) -> None:
    database, broker = Database(database_url, application="test", pool_size=1), cast(JetStream, FakeBroker())
    clock = [1000.0]
    relay = OutboxRelay(database, broker)
    monitor = StaleJobMonitor(database, broker, relay, desk.limits, interval_seconds=INTERVAL, clock=lambda: clock[0])
    held(desk)
    desk.sql(EXPIRE)
    acted = []
    for _ in range(int(LEASE / INTERVAL)):
        acted.append(dict(await monitor.run_once()))
        clock[0] += INTERVAL
    await database.close()

    assert not any(acted)


async def test_what_the_dead_worker_told_late_is_kept_after_the_rescue(desk: JobUseCases, watch: Watch) -> None:
    job, call = desk.generate(provider="paid")
    desk.sql(EXPIRE)
    await watch.tick()
    await watch.tick()
    desk.apply(failed(job, calls=(succeeded(call),), images=(image_of(job, call, 0),)))
    [claimed] = desk.claim()

    assert [one.phase for one in claimed.calls] == [CallPhase.SUCCEEDED]
    assert [image.image_index for image in claimed.images] == [0]


@pytest.mark.parametrize("why", ["deadline", "credential"])
def test_a_job_whose_operation_goes_on_is_not_given_up_while_it_waits(desk: JobUseCases, why: str) -> None:
    _, call = desk.generate(provider="paid", finish_within_seconds=600)
    desk.run(lambda c: provider_calls.record_operation(c, call.id, operation_id="op", state={}))
    crash(desk)
    end_time(desk, why)
    assert rescue(desk) == {}

    desk.sql("UPDATE jobs SET queued_at = clock_timestamp() - interval '86401 s'")
    assert rescue(desk) == {"job.failed": 1}


@pytest.mark.parametrize("why", ["deadline", "credential"])
def test_a_job_whose_result_can_be_fetched_is_not_given_up_while_it_waits(desk: JobUseCases, why: str) -> None:
    job, call = desk.generate(provider="paid", finish_within_seconds=600)
    desk.run(lambda c: provider_calls.record_operation(c, call.id, operation_id="op", state={}))
    desk.release(job, succeeded(call))
    end_time(desk, why)

    assert rescue(desk) == {}


def test_a_job_past_its_deadline_whose_result_can_be_fetched_is_tried_again(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid", finish_within_seconds=600)
    desk.run(lambda c: provider_calls.record_operation(c, call.id, operation_id="op", state={}))
    end_time(desk, "deadline")
    desk.apply(replace(failed(job, code=Code.TEMPORARY, reason=Reason.FETCH_FAILED), calls=(succeeded(call),)))

    assert desk.job(job.id).state is State.QUEUED


@pytest.mark.parametrize("why", ["deadline", "credential"])
def test_a_job_whose_time_is_over_while_it_waits_keeps_the_images_that_it_has(desk: JobUseCases, why: str) -> None:
    job, call = desk.generate(provider="paid", n=2, finish_within_seconds=600)
    had = replace(failed(job), calls=(succeeded(call),), images=(image_of(job, call, 0),))
    desk.apply(had)
    end_time(desk, why)

    assert rescue(desk) == {"job.uploading": 1}
    after = desk.job(job.id)
    assert (after.state, [one.image_index for one in after.warnings]) == (State.UPLOADING, [1])
    assert len(desk.claim_uploads()) == 1


def end_time(desk: JobUseCases, why: str) -> None:
    """What a waiting job waited for too long."""
    if why == "deadline":
        desk.sql("UPDATE jobs SET finish_by = clock_timestamp() - interval '1 s'")
        return
    desk.sql(
        "INSERT INTO breakers (provider, model, failures, code, reason, opened_at, open_until)"
        " VALUES ('paid', 'flux', 1, 'AUTH_ERROR', 'PROVIDER_AUTH',"
        " clock_timestamp() - interval '1 hour', clock_timestamp() + interval '1 hour')"
    )
    desk.sql("UPDATE jobs SET queued_at = clock_timestamp() - interval '1 hour'")
