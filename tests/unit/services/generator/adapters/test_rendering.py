"""Drawing in other processes: the same picture, progress on the way, and no process that outlives its use."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from services.generator.adapters.providers.procedural.drawing import render
from services.generator.adapters.providers.procedural.process_pool import Renderers
from tests.support.patience import PATIENCE

SMALL: dict[str, Any] = {
    "prompt": "a lighthouse at dusk",
    "negative_prompt": None,
    "seed": 7,
    "width": 64,
    "height": 64,
    "output_format": "png",
}
#: Takes long enough on every machine for somebody to look at it.
LARGE = SMALL | {"width": 1024, "height": 1024}


@pytest.fixture(autouse=True)
def strangers() -> set[int]:
    """Processes that draw for other tests, as far as there are any."""
    return {one.pid for one in workers(set())}


@pytest.fixture
async def renderers(strangers: set[int]) -> AsyncIterator[Renderers]:
    """One process that draws."""
    opened = Renderers(1)
    yield opened
    await opened.close()


def heard(share: float) -> None:
    """Progress that nobody looks at."""


def workers(strangers: set[int]) -> list[psutil.Process]:
    """Processes that draw here."""
    own = [one for one in psutil.Process().children() if one.pid not in strangers]
    return [one for one in own if "spawn_main" in " ".join(one.cmdline())]


async def test_a_picture_is_the_same_as_if_it_were_drawn_here(renderers: Renderers) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await renderers.draw(heard, **SMALL) == render(**SMALL)


async def test_progress_is_told_while_a_picture_is_drawn(renderers: Renderers) -> None:
    told: list[float] = []
    async with asyncio.timeout(PATIENCE):
        await renderers.draw(told.append, **LARGE)

    assert told == sorted(told)
    assert any(0 < share < 1 for share in told)


async def test_what_cannot_be_drawn_is_said_as_the_renderer_says_it(renderers: Renderers) -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ValueError, match="width"):
            await renderers.draw(heard, **SMALL | {"width": 63})


async def test_a_drawing_that_nobody_wants_any_more_makes_room_for_the_next(renderers: Renderers) -> None:
    begun = asyncio.Event()
    unwanted = asyncio.create_task(renderers.draw(lambda share: begun.set() if share else None, **LARGE))
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted

        assert await renderers.draw(heard, **SMALL) == render(**SMALL)


async def test_a_process_that_dies_is_replaced_and_its_picture_drawn_again(
    renderers: Renderers, strangers: set[int]
) -> None:
    async with asyncio.timeout(PATIENCE):
        await renderers.draw(heard, **SMALL)
        begun = asyncio.Event()
        drawing = asyncio.create_task(renderers.draw(lambda share: begun.set(), **LARGE))
        await begun.wait()
        [worker] = workers(strangers)
        os.kill(worker.pid, signal.SIGKILL)

        assert await drawing == render(**LARGE)


async def test_nothing_is_left_behind_when_drawing_ends(strangers: set[int]) -> None:
    opened = Renderers(2)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(opened.draw(heard, **SMALL) for _ in range(3)))
        running = workers(strangers)
        await opened.close()
    _, alive = psutil.wait_procs(running, timeout=PATIENCE)

    assert running
    assert alive == []
