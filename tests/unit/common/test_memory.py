"""Memory is given in turn and within its bound: nobody waits for ever, and all of it comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.memory import STEP, UNCOUNTED, Memory, Share, give_back, read_body, timeout
from tests.support.patience import PATIENCE
from tests.support.timing.virtual_time import in_virtual_time

BOUND = 100


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Grows step by step, less than it might, keeps what it has for some turns, and may be canceled before."""

    steps: tuple[int, ...]
    might: int = 0
    comes_after: int = 0
    keeps_for: int = 0
    canceled_after: int | None = None


READERS = st.builds(
    Reader,
    steps=st.lists(st.integers(1, 70), min_size=1, max_size=4).map(tuple),
    might=st.integers(0, 60),
    comes_after=st.integers(0, 6),
    keeps_for=st.integers(0, 6),
    canceled_after=st.none() | st.integers(0, 12),
)
#: Both have begun, and neither can end while the other holds what it has.
CROSSED = (Reader(steps=(40, 40)), Reader(steps=(40, 40)))


class Run:
    """Readers of one memory, in the order in which they came."""

    def __init__(self) -> None:
        self.memory = Memory(BOUND)
        self.ended = 0
        self._came: list[Share] = []

    async def read(self, reader: Reader) -> None:
        """One reader to its end."""
        await _turns(reader.comes_after)
        with self.memory.share(until=time.monotonic() + PATIENCE) as share:
            self._came.append(share)
            try:
                await self._grow(share, reader)
                await _turns(reader.keeps_for)
            finally:
                self._came.remove(share)
        self.ended += 1

    async def _grow(self, share: Share, reader: Reader) -> None:
        size = 0
        share.expect(sum(reader.steps) + reader.might)
        for step in reader.steps:
            has_begun = share.held > 0
            size += step
            await share.grow(size)
            assert share.held == min(size, BOUND)
            assert self.memory.held <= BOUND
            before = self._came[: self._came.index(share)]
            assert has_begun or all(other.held for other in before), "who came later has begun before"
            await _turns(1)
        share.settle(size)


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def _cancel(task: asyncio.Task[None], after: int | None) -> None:
    if after is not None:
        await _turns(after)
        task.cancel()


@settings(deadline=None)
@given(readers=st.lists(READERS, min_size=1, max_size=12))
@example(readers=CROSSED)
def test_whoever_reads_how_much_in_whatever_order_all_get_what_they_need_in_their_turn(
    readers: Sequence[Reader],
) -> None:
    @in_virtual_time
    async def run() -> None:
        world = Run()
        tasks = [asyncio.create_task(world.read(reader)) for reader in readers]
        canceling = [_cancel(task, one.canceled_after) for task, one in zip(tasks, readers, strict=True)]
        await asyncio.gather(*canceling)
        # Time goes on only when all of them wait, and then somebody's wait ends by it.
        ends = await asyncio.gather(*tasks, return_exceptions=True)

        failures = [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)]
        never_canceled = [end for end, one in zip(ends, readers, strict=True) if one.canceled_after is None]
        assert not failures
        assert never_canceled == [None] * len(never_canceled)
        assert world.memory.held == 0

    run()


async def parts(size: int, *, part: int = STEP // 4) -> AsyncIterator[bytes]:
    """A body in parts."""
    for start in range(0, size, part):
        yield bytes(min(part, size - start))


async def read(size: int, *, length: int | None = None) -> bytes:
    """Read a body that might be ten times as large."""
    return await read_body(parts(size), length=length, limit=10 * size, copies=3)


async def test_a_body_counts_as_what_it_has_come_to_until_it_is_given_back() -> None:
    memory, size = Memory(BOUND * STEP), 2 * STEP
    with memory.share(until=time.monotonic() + PATIENCE):
        assert await read(size) == bytes(size)
        assert memory.held == 3 * size
        give_back()
        assert memory.held == 0
        await read(size, length=size)
        await read(size)
        assert memory.held == 3 * size

    assert memory.held == 0


async def test_a_small_body_waits_for_nobody() -> None:
    memory = Memory(1)
    with memory.share(until=time.monotonic()):
        assert await read(UNCOUNTED) == bytes(UNCOUNTED)


async def test_a_body_larger_than_all_of_the_memory_has_it_for_itself() -> None:
    memory, size = Memory(STEP), 4 * STEP
    with memory.share(until=time.monotonic() + PATIENCE):
        assert await read(size) == bytes(size)
        assert memory.held == STEP


async def test_a_body_that_breaks_off_gives_back_what_it_had() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * STEP)
        raise ConnectionError

    memory = Memory(BOUND * STEP)
    with memory.share(until=time.monotonic() + PATIENCE):
        with pytest.raises(ConnectionError):
            await read_body(broken(), length=None, limit=4 * STEP, copies=3)
        assert memory.held == 0


async def test_a_body_is_cut_after_its_bound() -> None:
    assert len(await read_body(parts(8 * STEP), length=None, limit=2 * STEP, copies=1)) == 2 * STEP + STEP // 4


async def occupy(memory: Memory, *, seconds: float) -> None:
    """Hold all of the memory for so long."""
    with memory.share(until=time.monotonic() + PATIENCE) as share:
        share.expect(memory.limit)
        await share.grow(memory.limit)
        await asyncio.sleep(seconds)


@in_virtual_time
async def test_time_in_which_a_body_waits_for_memory_does_not_count() -> None:
    memory, clock = Memory(8 * STEP), asyncio.get_running_loop().time
    occupying = asyncio.create_task(occupy(memory, seconds=30))
    await asyncio.sleep(1)

    async def work(*, rests: float) -> None:
        async with timeout(5):
            await asyncio.sleep(3)
            await read(2 * STEP)
            await asyncio.sleep(rests)

    with memory.share(until=time.monotonic() + PATIENCE):
        await work(rests=1)
        assert clock() == 31
        with pytest.raises(TimeoutError):
            await work(rests=3)
        assert clock() == 36
    await occupying


@in_virtual_time
async def test_nobody_waits_for_memory_beyond_his_time() -> None:
    memory = Memory(8 * STEP)
    occupying = asyncio.create_task(occupy(memory, seconds=60))
    await asyncio.sleep(0)
    with memory.share(until=time.monotonic() + 10), pytest.raises(TimeoutError):
        await read(2 * STEP)
    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=1)
    assert memory.held == memory.limit
    await occupying
    assert memory.held == 0
