"""The long form of `tests/conformance/providers/test_odd_answers.py`: so many altered answers for each kind.

`python -m tests.odd_answers --mutations 10000 [--kind openai] [--seed 1]`: the first lines name each seed that came to
something wrong; `--only SEED` plays that one again.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence

from tests.support.generator.faulty_provider_jobs import SHORT, FaultyProviderRuns, captured_events, faults, png
from tests.support.providers import goldens
from tests.support.providers.faulty_provider import faulty_provider
from tests.support.providers.goldens import Golden
from tests.support.providers.provider_fixtures import REMOTE
from tests.support.providers.response_alterations import Mutations

AT_ONCE = 8
#: Cases whose answers are altered: what brings pictures, and what ends badly.
CASES = ("good", "n", "edit", "refusal", "rate limit", "quota", "5xx", "expired")


async def play(world: FaultyProviderRuns, golden: Golden, seeds: Sequence[str]) -> Counter[str]:
    """Play seeds; prints what is wrong, and counts what jobs came to."""
    names = [name for name in CASES if name in golden.cases]
    came_to: Counter[str] = Counter()
    waiting = iter(seeds)

    async def work() -> None:
        for seed in waiting:
            case = names[sum(seed.encode()) % len(names)]
            steps = len(golden.cases[case]["steps"]) + 1
            ending = await world.run(golden, case, Mutations(seed, steps=steps))
            free = bool(REMOTE[golden.kind].traits.free)  # type: ignore[attr-defined]
            wrong = faults(ending, image=world.image, free=free)
            came_to["delivered" if ending.is_delivered else ending.reason or "handed back"] += 1
            if wrong:
                came_to["WRONG"] += 1
                print(f"{seed} ({case}): {'; '.join(wrong)}, it came to {ending.reason or ending.fact}", flush=True)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return came_to


async def run(kinds: Sequence[str], mutations: int, seed: str, only: str | None) -> int:
    """Play all; the exit status."""
    wrong = 0
    with captured_events():
        async with faulty_provider() as vendor:
            world = FaultyProviderRuns(server=vendor, image=png(), seconds=SHORT)
            for kind in kinds:
                seeds = [only] if only else [f"{kind}-{seed}-{number}" for number in range(mutations)]
                came_to = await play(world, goldens.read(kind), seeds)
                wrong += came_to["WRONG"]
                print(f"{kind}: {dict(came_to.most_common())}", flush=True)
            await world.fetch.close()
    return 1 if wrong else 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--kind", choices=goldens.kinds(), action="append")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only")
    asked = parser.parse_args()
    sys.exit(asyncio.run(run(asked.kind or goldens.kinds(), asked.mutations, asked.seed, asked.only)))


if __name__ == "__main__":
    main()
