"""Hostile input for minutes: is every answer a clear one, does good work go on, does the gateway keep its size?

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.hostile --minutes 10`
"""

import argparse
import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from cli.stack.state import StackState
from tests.benchmarks.running import resident, stack
from tests.support import hostile
from tests.support.hostile import ATTACKS, Target

#: Attackers that send one thing after the other, streams that are opened and never read, bodies that trickle.
ATTACKERS, IDLERS, TRICKLERS = 16, 2_000, 100
#: Idlers and tricklers begin anew after so many seconds, each at its own time.
IDLE_SECONDS = 60.0
SAMPLE_SECONDS = 5.0


@dataclass
class Seen:
    """What was answered, and what should not have been."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    streams: Counter[int] = field(default_factory=Counter)


async def attack(target: Target, seen: Seen, rng: random.Random, until: float) -> None:
    """One thing after the other."""
    while time.monotonic() < until:
        [one] = rng.choices(ATTACKS, [attack.weight for attack in ATTACKS])
        sent = one.make(target, rng)
        try:
            status, _ = await hostile.send(target, sent)
        except TimeoutError:
            status = -1
        seen.answers[one.name, status] += 1
        if status not in one.answers:
            seen.wrong.append(f"{one.name}: {status} to {sent[:100]!r}")


async def idle(target: Target, seen: Seen, rng: random.Random, until: float) -> None:
    """Open a stream and do not read it, again and again."""
    await asyncio.sleep(rng.uniform(0, IDLE_SECONDS))
    while time.monotonic() < until:
        seen.streams[await hostile.stand_idle(target, min(IDLE_SECONDS, max(0, until - time.monotonic())))] += 1


async def trickle(target: Target, rng: random.Random, until: float) -> None:
    """Send a body byte by byte, again and again."""
    while time.monotonic() < until:
        await hostile.trickle(target, min(rng.uniform(1, IDLE_SECONDS), max(0, until - time.monotonic())))


async def work(stack: StackState, seen: Seen, until: float) -> None:
    """Somebody who means well: a job with its picture, again and again."""
    async with httpx.AsyncClient(base_url=stack.http, trust_env=False, timeout=60) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            body = {"prompt": "made among the hostile", "size": "64x64"}
            answer = await client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})
            if answer.status_code != 200 or answer.json()["status"] != "completed":
                seen.wrong.append(f"good work: {answer.status_code} {answer.text[:200]}")
            seen.good.append(time.monotonic() - began)
            await asyncio.sleep(1)


async def weigh(stack: StackState, seen: Seen, until: float) -> None:
    """The gateway's memory, over time."""
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        seen.memory.append(resident(stack, "gateway"))


async def run(stack: StackState, target: Target, minutes: float) -> Seen:
    """All of it at once."""
    seen, rng, until = Seen(), random.Random(7), time.monotonic() + minutes * 60
    await asyncio.gather(
        *(attack(target, seen, random.Random(number), until) for number in range(ATTACKERS)),
        *(idle(target, seen, rng, until) for _ in range(IDLERS)),
        *(trickle(target, rng, until) for _ in range(TRICKLERS)),
        work(stack, seen, until),
        weigh(stack, seen, until),
    )
    return seen


def tell(seen: Seen) -> None:
    """Print it."""
    print(f"{seen.answers.total()} attacks")
    for (name, status), count in sorted(seen.answers.items()):
        print(f"  {name}: {count} times {status or 'closed'}")
    print(f"streams: {dict(seen.streams)}")
    print(f"good jobs: {len(seen.good)}, median {statistics.median(seen.good):.2f} s, longest {max(seen.good):.2f} s")
    minute = round(60 / SAMPLE_SECONDS)
    by_minute = [statistics.median(seen.memory[at : at + minute]) for at in range(0, len(seen.memory), minute)]
    print(f"gateway, MiB by minute: {', '.join(f'{one:.0f}' for one in by_minute)}")
    print(f"grew by {by_minute[-1] - by_minute[1]:.1f} MiB since the second minute; most {max(seen.memory):.0f} MiB")
    print(f"{len(seen.wrong)} answers that should not be")
    for one in seen.wrong[:20]:
        print(f"  {one}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=11.0)
    minutes = parser.parse_args().minutes
    with stack() as (running, folder):
        print(f"gateway before: {resident(running, 'gateway'):.0f} MiB", flush=True)
        tell(asyncio.run(run(running, hostile.target_of(running, folder), max(minutes, 2.5))))


if __name__ == "__main__":
    main()
