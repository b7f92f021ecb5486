"""The progress bar of a job, as a stream shows it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from calotype.job.v1 import job_pb2, job_service_pb2

from gateway.views.job import Renderer
from gateway.views.progress import GENERATING_BEGINS, GENERATING_ENDS, ProgressBar, ProgressBars
from tests.support.job_service.fake_job_service import NOON, FakeJobService

RENDER = Renderer(root="https://api.example", now=NOON)
#: The ways of a job within one run, with automatic retries.
STEPS = {
    job_pb2.STATUS_QUEUED: (job_pb2.STATUS_PROCESSING,),
    job_pb2.STATUS_PROCESSING: (job_pb2.STATUS_GENERATING, job_pb2.STATUS_QUEUED),
    job_pb2.STATUS_GENERATING: (job_pb2.STATUS_UPLOADING, job_pb2.STATUS_QUEUED, job_pb2.STATUS_GENERATING),
    job_pb2.STATUS_UPLOADING: (job_pb2.STATUS_COMPLETED, job_pb2.STATUS_QUEUED, job_pb2.STATUS_UPLOADING),
}


def job(status: "job_pb2.Status", *, retry_count: int = 0) -> job_pb2.Job:
    made = FakeJobService().add(status=status)
    made.id, made.retry_count = "job_1", retry_count
    return made


def progress(percent: float) -> job_service_pb2.Progress:
    return job_service_pb2.Progress(percent=percent)


def positions(chance: random.Random, bars: ProgressBars) -> Iterator[float]:
    """The positions that a stream shows of a random run, at whose end the job is completed."""
    bar, status = bars.follow("job_1"), job_pb2.STATUS_QUEUED
    render = replace(RENDER, bars=bars)
    while status != job_pb2.STATUS_COMPLETED:
        if (shown := render.job(job(status)).display.percent) is not None:
            yield shown
        # Reports of any worker may come at any time, even of one that has lost its claim.
        for _ in range(chance.choice([0, 0, 1, 5])):
            if view := bar.advance(progress(chance.choice([chance.uniform(0, 100), -1.0, 250.0, float("nan")]))):
                yield view.percent
        status = chance.choice(STEPS[status])
    yield render.job(job(status)).display.percent or 0


@pytest.mark.parametrize("seed", range(200))
def test_a_bar_never_runs_backwards(seed: int) -> None:
    shown = list(positions(random.Random(seed), ProgressBars()))

    assert all(before <= after for before, after in pairwise(shown))
    assert all(position <= GENERATING_ENDS for position in shown[:-1])
    assert shown[-1] == 100


def readings(chance: random.Random) -> Iterator[float]:
    """What a poller sees of a random run, whichever of two gateways answers; each may be restarted at any time."""
    gateways = [replace(RENDER, bars=ProgressBars()) for _ in range(2)]
    current = job(job_pb2.STATUS_QUEUED)
    for second in range(1, 100):
        yield chance.choice(gateways).job(current).display.percent or 0
        if chance.random() < 0.3:
            gateways[chance.randrange(2)] = replace(RENDER, bars=ProgressBars())
        if current.status == job_pb2.STATUS_GENERATING and chance.random() < 0.5:
            # job-service keeps the furthest of what workers report.
            reported = chance.uniform(0, 100)
            current.generated_percent = max(current.generated_percent, reported)
        if chance.random() < 0.5:
            current.status = chance.choice(STEPS[current.status])
            current.updated_at.FromDatetime(NOON + timedelta(seconds=second))
            if current.status == job_pb2.STATUS_PROCESSING and not current.HasField("started_at"):
                current.started_at.CopyFrom(current.updated_at)
        if current.status == job_pb2.STATUS_UPLOADING:
            return


@pytest.mark.parametrize("seed", range(200))
def test_no_gateway_shows_less_than_another_did_before(seed: int) -> None:
    shown = list(readings(random.Random(seed)))

    assert all(before <= after for before, after in pairwise(shown))


def test_a_poller_alone_sees_the_furthest_position_while_job_service_has_forgotten_it() -> None:
    render = replace(RENDER, bars=ProgressBars())
    known = job(job_pb2.STATUS_GENERATING)
    known.generated_percent = 50

    assert render.job(known).display.percent == 65
    assert render.job(job(job_pb2.STATUS_GENERATING)).display.percent == 65
    assert render.job(job(job_pb2.STATUS_QUEUED, retry_count=1)).display.percent == 0


def test_progress_of_an_earlier_run_moves_no_bar() -> None:
    bar = ProgressBar()
    bar.note(job(job_pb2.STATUS_GENERATING, retry_count=1))

    assert bar.advance(job_service_pb2.Progress(percent=50, retry_count=0)) is None
    assert bar.advance(job_service_pb2.Progress(percent=50, retry_count=1)) is not None


def test_live_progress_moves_within_the_share_of_generating() -> None:
    bar = ProgressBar()
    views = [bar.advance(progress(percent)) for percent in (0, 50, 100)]

    assert [view and view.percent for view in views] == [GENERATING_BEGINS, 65.0, GENERATING_ENDS]


def test_whoever_asks_for_the_job_sees_the_position_that_the_stream_had() -> None:
    bars = ProgressBars(limit=1)
    render = replace(RENDER, bars=bars)
    bar = bars.follow("job_1")
    bar.advance(progress(33.3))
    bars.follow("job_2")

    assert render.job(job(job_pb2.STATUS_GENERATING)).display.percent == 57
    assert bars.follow("job_1") is bar
    assert RENDER.job(job(job_pb2.STATUS_GENERATING)).display.percent == GENERATING_BEGINS


def test_no_more_jobs_are_kept_than_the_limit() -> None:
    bars = ProgressBars(limit=2)
    for number in range(100):
        bars.follow(f"job_{number}")

    assert (len(bars._all), len(bars._last)) == (2, 2)


def test_a_users_retry_begins_at_nothing() -> None:
    bars = ProgressBars()
    render = replace(RENDER, bars=bars)
    bars.follow("job_1").advance(progress(50))
    render.job(job(job_pb2.STATUS_FAILED))

    again = [render.job(job(status, retry_count=1)).display.percent for status in (job_pb2.STATUS_QUEUED, 2)]
    assert again == [0, 10]


def test_a_retry_that_was_seen_first_begins_at_nothing_too() -> None:
    bars = ProgressBars()
    render = replace(RENDER, bars=bars)
    bars.follow("job_1").advance(progress(50))

    assert render.job(job(job_pb2.STATUS_QUEUED, retry_count=1)).display.percent == 0
    assert render.job(job(job_pb2.STATUS_GENERATING)).display.percent == GENERATING_BEGINS


@pytest.mark.parametrize("status", [job_pb2.STATUS_COMPLETED, job_pb2.STATUS_FAILED, job_pb2.STATUS_CANCELED])
def test_progress_after_the_end_is_not_shown(status: "job_pb2.Status") -> None:
    bars = ProgressBars()
    bar = bars.follow("job_1")
    replace(RENDER, bars=bars).job(job(status))

    assert bar.advance(progress(50)) is None


def test_a_stream_from_the_beginning_shows_each_state_where_it_begins() -> None:
    bars = ProgressBars()
    render = replace(RENDER, bars=bars)
    bars.follow("job_1").advance(progress(50))
    render.job(job(job_pb2.STATUS_COMPLETED))

    assert render.job(job(job_pb2.STATUS_PROCESSING)).display.percent == 10
