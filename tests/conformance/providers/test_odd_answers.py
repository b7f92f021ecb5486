"""What vendors, relays and networks make of answers: no picture is lost, no evidence, and nothing breaks."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.job.domain import facts
from tests.support.generator.faulty_provider_jobs import (
    SHORT,
    FaultyProviderRuns,
    JobOutcome,
    captured_events,
    faults,
    png,
)
from tests.support.providers import goldens
from tests.support.providers.faulty_provider import faulty_provider
from tests.support.providers.goldens import Golden
from tests.support.providers.provider_fixtures import REMOTE
from tests.support.providers.response_alterations import HARMLESS, USELESS, Mutations

GOLDENS = {kind: goldens.read(kind) for kind in goldens.kinds()}
FREE = frozenset(kind for kind in GOLDENS if REMOTE[kind].traits.free)  # type: ignore[attr-defined]
#: A few of each kind here; `python -m tests.odd_answers` plays as many as it is told.
MUTATED = 40


@pytest.fixture
async def world() -> AsyncIterator[FaultyProviderRuns]:
    """A vendor, and all that a job needs."""
    with captured_events():
        async with faulty_provider() as vendor:
            world = FaultyProviderRuns(server=vendor, image=png())
            yield world
            await world.fetch.close()


@pytest.fixture(params=GOLDENS)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each golden."""
    return GOLDENS[request.param]


def _evidence(ending: JobOutcome) -> str:
    calls = ending.fact.calls if isinstance(ending.fact, facts.StageFailed) else ()
    return "".join(one.provider_error.message for one in calls if one.provider_error)


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_is_only_odd_loses_no_picture(world: FaultyProviderRuns, golden: Golden, name: str) -> None:
    ending = await world.run(golden, "good", lambda _, told: HARMLESS[name](told))

    assert faults(ending, image=world.image, free=golden.kind in FREE) == []
    assert ending.is_delivered, (ending.fact, ending.events)


@pytest.mark.parametrize("name", USELESS)
async def test_what_is_useless_is_kept_as_evidence_and_breaks_nothing(
    world: FaultyProviderRuns, golden: Golden, name: str
) -> None:
    ending = await world.run(golden, "good", lambda number, told: told if number else USELESS[name])

    assert faults(ending, image=world.image, free=golden.kind in FREE) == []
    assert not ending.is_delivered
    assert bool(_evidence(ending)) or not USELESS[name].body


async def test_no_altered_answer_breaks_anything_or_loses_a_picture(world: FaultyProviderRuns, golden: Golden) -> None:
    steps = len(golden.cases["good"]["steps"]) + 1
    seeds = [f"{golden.kind}-{number}" for number in range(MUTATED)]

    at_once = asyncio.Semaphore(8)
    world.seconds = SHORT

    async def play(seed: str) -> list[str]:
        async with at_once:
            ending = await world.run(golden, "good", Mutations(seed, steps=steps))
        return faults(ending, image=world.image, free=golden.kind in FREE)

    found = await asyncio.gather(*(play(seed) for seed in seeds))
    assert {seed: wrong for seed, wrong in zip(seeds, found, strict=True) if wrong} == {}
