import asyncio

import pytest

from common.errors import ServiceError
from gateway.job_service.concurrency_limit import ConcurrencyLimiter
from tests.support.timing.virtual_time import VirtualLoop, in_virtual_time

#: What a call may take.
SECONDS = 1.0


@in_virtual_time
async def test_a_crowd_is_served_in_turn_however_long_that_takes() -> None:
    admission, order, together = ConcurrencyLimiter(slots=2), list[int](), 0

    async def ask(number: int) -> None:
        nonlocal together
        async with admission.slot(SECONDS / 4) as left:
            together += 1
            assert together <= 2
            assert 0 < left < SECONDS / 4 + 0.001
            order.append(number)
            await asyncio.sleep(0.05)
            together -= 1

    await asyncio.gather(*[ask(number) for number in range(30)])

    assert order == list(range(30))


@in_virtual_time
async def test_when_nothing_gets_through_everybody_hears_it_at_once() -> None:
    admission, loop = ConcurrencyLimiter(slots=2), asyncio.get_running_loop()
    began = loop.time()

    async def ask() -> float:
        with pytest.raises((TimeoutError, ServiceError)):
            async with admission.slot(SECONDS) as left, asyncio.timeout(left):
                await asyncio.Event().wait()
        return loop.time() - began

    took = await asyncio.gather(*[ask() for _ in range(50)])

    assert max(took) < 2 * SECONDS
    # Nobody's place is lost.
    async with admission.slot(SECONDS) as left:
        assert left == pytest.approx(SECONDS)


@in_virtual_time
async def test_nobody_waits_for_longer_than_is_sensible() -> None:
    admission = ConcurrencyLimiter(slots=1, max_wait_seconds=0.2)
    served = asyncio.Event()

    async def keep_busy() -> None:
        while not served.is_set():
            async with admission.slot(SECONDS):
                await asyncio.sleep(0.5)

    busy = asyncio.create_task(keep_busy())
    await asyncio.sleep(0)
    with pytest.raises(ServiceError, match="is overloaded"):
        async with admission.slot(SECONDS):
            raise AssertionError("the place was taken")
    served.set()
    await busy


@in_virtual_time
async def test_a_process_that_is_too_busy_to_hear_the_answers_hears_them_before_it_gives_up() -> None:
    admission, loop, answered = ConcurrencyLimiter(slots=1), asyncio.get_running_loop(), asyncio.Event()
    assert isinstance(loop, VirtualLoop)

    async def ask() -> None:
        async with admission.slot(SECONDS / 4):
            await answered.wait()
            # An answer goes through several hands.
            for _ in range(5):
                await asyncio.sleep(0)

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (admission.active, admission.waiting) == (1, 2)
    # The first answer comes while the loop is at other things, and those who wait have waited for long enough.
    loop.pass_by(SECONDS / 2)
    loop.call_soon(answered.set)

    await asyncio.gather(*asking)


@pytest.mark.parametrize("turns", range(6))
@in_virtual_time
async def test_whoever_goes_at_any_moment_leaves_the_place_to_others(turns: int) -> None:
    admission = ConcurrencyLimiter(slots=1)

    async def ask() -> None:
        async with admission.slot(SECONDS):
            await asyncio.sleep(0)

    asking = [asyncio.create_task(ask()) for _ in range(2)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)

    async with asyncio.timeout(SECONDS):
        await ask()
    assert (admission.active, admission.waiting) == (0, 0)
