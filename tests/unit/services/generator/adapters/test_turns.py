"""Turns: never more at once than there is, in the order of coming, lane by lane, and nothing is lost by a cancel."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.generator.adapters.images.decoding.fair_semaphore import FairSemaphore, Permit

ROUNDS = 3


async def settled() -> None:
    """Let everybody who can go on do so."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


class Crowd:
    """People who want turns; `served` is who got one, in order."""

    def __init__(self, turns: FairSemaphore) -> None:
        self.turns = turns
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[Permit]] = {}

    async def come(self, name: str, weight: int, *, lane: int = 0) -> None:
        """Ask for a turn."""

        async def acquire() -> Permit:
            turn = await self.turns.acquire(weight, lane=lane)
            self.served.append(name)
            return turn

        self.tasks[name] = asyncio.create_task(acquire())
        await settled()

    async def leave(self, name: str) -> None:
        """End a turn."""
        self.tasks[name].result().release()
        await settled()


async def test_who_does_not_fit_waits_and_nobody_smaller_goes_before() -> None:
    crowd = Crowd(FairSemaphore(limit=10, slots=4, lanes=1))
    await crowd.come("small", 4)
    await crowd.come("large", 8)
    await crowd.come("tiny", 1)
    assert crowd.served == ["small"]

    await crowd.leave("small")
    assert crowd.served == ["small", "large", "tiny"]


async def test_no_more_go_at_once_than_there_are_places() -> None:
    crowd = Crowd(FairSemaphore(limit=10, slots=2, lanes=1))
    for name in "abc":
        await crowd.come(name, 1)
    assert crowd.served == ["a", "b"]

    await crowd.leave("b")
    assert crowd.served == ["a", "b", "c"]


async def test_what_is_larger_than_all_there_is_has_all_there_is() -> None:
    crowd = Crowd(FairSemaphore(limit=10, slots=2, lanes=1))
    await crowd.come("huge", 1000)
    assert (crowd.served, crowd.turns.held) == (["huge"], 10)


async def test_a_crowd_in_one_lane_keeps_another_waiting_for_one_of_it() -> None:
    crowd = Crowd(FairSemaphore(limit=10, slots=1, lanes=2))
    for number in range(5):
        await crowd.come(f"input {number}", 10, lane=1)
    await crowd.come("result", 10, lane=0)
    await crowd.leave("input 0")

    assert crowd.served == ["input 0", "result"]


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_whoever_gives_up_takes_nothing_along(is_waiting: bool) -> None:
    crowd = Crowd(FairSemaphore(limit=10, slots=2, lanes=1))
    await crowd.come("first", 6)
    await crowd.come("second", 6)
    await crowd.come("third", 4)
    if not is_waiting:
        # Its turn comes in the moment in which it gives up.
        crowd.tasks["first"].result().release()
    crowd.tasks["second"].cancel()
    await settled()

    assert crowd.served == ["first", "third"]
    assert crowd.turns.held == (10 if is_waiting else 4)


@given(
    some.lists(
        some.tuples(some.integers(1, 20), some.integers(0, 1), some.sampled_from(["leave", "cancel", "stay"])),
        max_size=25,
    )
)
def test_whatever_comes_and_goes_the_bounds_hold_and_all_are_served(people: list[Any]) -> None:
    async def play() -> None:
        turns = FairSemaphore(limit=20, slots=3, lanes=2)
        crowd = Crowd(turns)
        for number, (weight, lane, ends) in enumerate(people):
            await crowd.come(str(number), weight, lane=lane)
            assert turns.held <= turns.limit
            if ends == "leave" and crowd.tasks[str(number)].done():
                await crowd.leave(str(number))
                del crowd.tasks[str(number)]
            elif ends == "cancel" and not crowd.tasks[str(number)].done():
                crowd.tasks.pop(str(number)).cancel()
                await settled()
        while crowd.tasks:
            # Somebody always has a turn, so that all of them end.
            name = next(name for name, task in crowd.tasks.items() if task.done())
            await crowd.leave(name)
            del crowd.tasks[name]
        assert turns.held == 0

    asyncio.run(play())
