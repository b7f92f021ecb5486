"""Loops: they survive what they run, slow down while it fails, and end when told to."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from calotype.error_reasons import Reason

from common import loops
from common.errors import DependencyUnavailable, ServiceError
from common.loops import LONGEST_BACKOFF, backoff, pause_until, run_every
from tests.support.patience import PATIENCE

NEVER = 10_000.0
AWAY = ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason.SERVICE_UNAVAILABLE, message="Later.")


class Ticks:
    """Counts runs; each raises the next of its problems, if there is one left."""

    def __init__(self, *problems: Exception, counts: Mapping[str, int] | None = None) -> None:
        self.at: list[float] = []
        self._problems = list(problems)
        self._counts = counts
        self._ticked = asyncio.Condition()

    async def run_once(self) -> Mapping[str, int] | None:
        """One run."""
        async with self._ticked:
            self.at.append(asyncio.get_running_loop().time())
            self._ticked.notify_all()
        if self._problems:
            raise self._problems.pop(0)
        return self._counts

    async def until(self, count: int) -> None:
        """Wait until it ran so often."""
        async with self._ticked, asyncio.timeout(PATIENCE):
            await self._ticked.wait_for(lambda: len(self.at) >= count)

    @property
    def pauses(self) -> list[float]:
        """Seconds between runs."""
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


@pytest.mark.parametrize("failures", [5, 1_023, 1_024, 100_000])
def test_an_outage_of_days_is_looked_after_like_one_of_minutes(failures: int) -> None:
    assert backoff(3_600.0, failures) == LONGEST_BACKOFF


@asynccontextmanager
async def looping(ticks: Ticks, *, interval: float, **options: Any) -> AsyncIterator[Callable[[], None]]:
    """A running loop that leaving stops; it must end at once, and by itself."""
    stop = asyncio.Event()
    loop = asyncio.create_task(run_every("test", ticks.run_once, interval=interval, stop=stop, **options))
    try:
        yield stop.set
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await loop


async def rounds(count: int = 100) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_it_runs_at_once_and_then_once_per_interval() -> None:
    ticks = Ticks()
    async with looping(ticks, interval=0.05, jitter=0):
        await ticks.until(4)

    assert min(ticks.pauses) >= 0.045


async def test_between_two_runs_it_does_nothing() -> None:
    ticks = Ticks()
    async with looping(ticks, interval=NEVER):
        await ticks.until(1)
        await rounds()

        assert len(ticks.at) == 1


@pytest.mark.parametrize(
    "problem", [ValueError("a defect"), AWAY, DependencyUnavailable("The broker is away.")], ids=repr
)
async def test_a_run_that_raises_does_not_end_it(problem: Exception) -> None:
    ticks = Ticks(problem, problem)
    async with looping(ticks, interval=0.001):
        await ticks.until(5)


async def test_a_defect_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    ticks = Ticks(ValueError("a defect"), ValueError("a defect"))
    async with looping(ticks, interval=0.001):
        await ticks.until(3)
    failed = [one for one in caplog.records if one.message == "test.failed"]

    assert [(one.levelno, vars(one)["failures"]) for one in failed] == [(logging.ERROR, 1), (logging.ERROR, 2)]
    assert all(one.exc_info and isinstance(one.exc_info[1], ValueError) for one in failed)


@pytest.mark.parametrize("problem", [AWAY, DependencyUnavailable("The broker is away.")], ids=repr)
async def test_what_is_away_is_no_defect_and_is_told_in_one_line(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = Ticks(problem)
    async with looping(ticks, interval=0.001):
        await ticks.until(2)
    [told] = [one for one in caplog.records if one.name == "common.loops"]

    assert (told.levelno, told.message) == (logging.WARNING, "test.postponed")
    assert (vars(told)["reason"], told.exc_info) == (str(problem), None)


async def test_what_keeps_failing_is_tried_less_and_less_often() -> None:
    ticks = Ticks(*[ValueError("again")] * 5)
    async with looping(ticks, interval=0.01, jitter=0):
        await ticks.until(6)

    assert all(pause >= 0.9 * 0.01 * 2**failures for failures, pause in enumerate(ticks.pauses, start=1))


async def test_after_a_run_that_succeeded_the_next_failure_is_the_first_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fickle(Ticks):
        async def run_once(self) -> Mapping[str, int] | None:
            await super().run_once()
            if len(self.at) in (1, 2, 4):
                raise ValueError("now and then")
            return None

    ticks = Fickle()
    async with looping(ticks, interval=0.001):
        await ticks.until(5)

    assert [vars(one)["failures"] for one in caplog.records if one.message == "test.failed"] == [1, 2, 1]


async def test_what_runs_rarely_is_tried_again_soon_when_it_failed() -> None:
    ticks = Ticks(ValueError("at the start"))
    async with looping(ticks, interval=NEVER, jitter=0):
        await ticks.until(2)

    assert ticks.pauses[0] >= 1.9


async def test_to_be_woken_is_not_to_wait() -> None:
    ticks, wake = Ticks(), asyncio.Event()
    async with looping(ticks, interval=NEVER, wake=wake):
        for count in range(1, 5):
            await ticks.until(count)
            wake.set()


async def test_who_is_woken_while_it_runs_runs_once_more() -> None:
    wake = asyncio.Event()

    class Woken(Ticks):
        async def run_once(self) -> Mapping[str, int] | None:
            if not self.at:
                wake.set()
            return await super().run_once()

    ticks = Woken()
    async with looping(ticks, interval=NEVER, wake=wake):
        await ticks.until(2)
        await rounds()

        assert len(ticks.at) == 2


async def test_what_fails_does_not_run_faster_by_being_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "backoff", lambda interval, failures: NEVER)
    ticks, wake = Ticks(*[ValueError("again")] * 1000), asyncio.Event()
    async with looping(ticks, interval=NEVER, wake=wake):
        await ticks.until(1)
        for _ in range(100):
            wake.set()
            await asyncio.sleep(0)

        assert len(ticks.at) == 1


@pytest.mark.parametrize("problems", [(), (ValueError("again"),)], ids=["well", "failing"])
async def test_told_to_stop_it_ends_at_once_and_runs_no_more(
    problems: tuple[Exception, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "backoff", lambda interval, failures: NEVER)
    ticks = Ticks(*problems)
    async with looping(ticks, interval=NEVER, wake=asyncio.Event()) as stop:
        await ticks.until(1)
        await rounds()
        stop()

    assert len(ticks.at) == 1


async def test_what_is_stopped_before_it_began_does_not_run() -> None:
    ticks, stop = Ticks(), asyncio.Event()
    stop.set()
    await run_every("test", ticks.run_once, interval=NEVER, stop=stop)

    assert ticks.at == []


@pytest.mark.parametrize(("counts", "told"), [({"jobs": 2, "keys": 0}, 1), ({"jobs": 0}, 0), ({}, 0), (None, 0)])
async def test_counts_are_told_when_there_was_something_to_do(
    counts: Mapping[str, int] | None, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "common.loops")
    ticks = Ticks(counts=counts)
    async with looping(ticks, interval=NEVER) as stop:
        await ticks.until(1)
        stop()

    ran = [vars(one) for one in caplog.records if one.message == "test.ran"]
    assert len(ran) == told
    assert all(one["jobs"] == 2 for one in ran)


async def test_a_pause_tells_whether_it_was_cut_short() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    second.set()

    assert await pause_until(first, None, second, seconds=NEVER)
    assert not await pause_until(first, seconds=0.001)
    assert not await pause_until(None, seconds=0.001)


async def test_a_pause_leaves_nobody_waiting() -> None:
    before = asyncio.all_tasks()
    await pause_until(asyncio.Event(), asyncio.Event(), seconds=0.001)
    await rounds(2)

    assert asyncio.all_tasks() == before
