"""Hostile input for minutes: is every answer a clear one, does good work go on, does the gateway keep its size?

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.hostile --rounds 11`
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
from tests.benchmarks.running import bearer, resident, stack
from tests.support.gateway import hostile_requests
from tests.support.gateway.hostile_requests import ATTACKS, Target

#: Attackers that send one thing after the other, streams that are opened and never read, bodies that trickle.
ATTACKERS, IDLERS, TRICKLERS = 16, 2_000, 100
#: Idlers and tricklers begin anew after so many seconds, each at its own time.
IDLE_SECONDS = 20.0
#: A round of all of it, then quiet, so that what is left of it can be weighed.
ROUND_SECONDS, QUIET_SECONDS = 60.0, 8.0
SAMPLE_SECONDS = 2.0


@dataclass
class Seen:
    """What was answered, and what should not have been."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    #: MiB of the gateway: the most during each round, and after it.
    most: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    streams: Counter[int] = field(default_factory=Counter)


async def attack(target: Target, seen: Seen, rng: random.Random, until: float) -> None:
    """One thing after the other."""
    while time.monotonic() < until:
        [one] = rng.choices(ATTACKS, [attack.weight for attack in ATTACKS])
        sent = one.make(target, rng)
        try:
            status, _ = await hostile_requests.send(target, sent)
        except TimeoutError:
            status = -1
        seen.answers[one.name, status] += 1
        if status not in one.expected_statuses:
            seen.wrong.append(f"{one.name}: {status} to {sent[:100]!r}")


async def idle(target: Target, seen: Seen, rng: random.Random, until: float) -> None:
    """Open a stream and do not read it, again and again."""
    await asyncio.sleep(rng.uniform(0, IDLE_SECONDS))
    while time.monotonic() < until:
        seen.streams[
            await hostile_requests.stand_idle(target, min(IDLE_SECONDS, max(0, until - time.monotonic())))
        ] += 1


async def trickle(target: Target, rng: random.Random, until: float) -> None:
    """Send a body byte by byte, again and again."""
    while time.monotonic() < until:
        await hostile_requests.trickle(target, min(rng.uniform(1, IDLE_SECONDS), max(0, until - time.monotonic())))


async def work(stack: StackState, seen: Seen, until: float) -> None:
    """Somebody who means well: a job with its picture, again and again."""
    async with httpx.AsyncClient(base_url=stack.http, headers=bearer(stack), trust_env=False, timeout=60) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            body = {"prompt": "made among the hostile", "size": "64x64"}
            answer = await client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})
            if answer.status_code != 200 or answer.json()["status"] != "completed":
                seen.wrong.append(f"good work: {answer.status_code} {answer.text[:200]}")
            seen.good.append(time.monotonic() - began)
            await asyncio.sleep(1)


async def weigh(stack: StackState, seen: Seen, until: float) -> None:
    """The most that the gateway takes."""
    most = 0.0
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        most = max(most, resident(stack, "gateway"))
    seen.most.append(most)


async def run(stack: StackState, target: Target, rounds: int) -> Seen:
    """All of it at once, round after round."""
    seen, rng = Seen(), random.Random(7)
    for number in range(rounds):
        until = time.monotonic() + ROUND_SECONDS
        attackers = [random.Random(f"{number} {attacker}") for attacker in range(ATTACKERS)]
        await asyncio.gather(
            *(attack(target, seen, one, until) for one in attackers),
            *(idle(target, seen, rng, until) for _ in range(IDLERS)),
            *(trickle(target, rng, until) for _ in range(TRICKLERS)),
            work(stack, seen, until),
            weigh(stack, seen, until),
        )
        await asyncio.sleep(QUIET_SECONDS)
        seen.left.append(resident(stack, "gateway"))
    return seen


def tell(seen: Seen) -> None:
    """Print it."""
    print(f"{seen.answers.total()} attacks")
    for (name, status), count in sorted(seen.answers.items()):
        print(f"  {name}: {count} times {status or 'closed'}")
    print(f"streams: {dict(seen.streams)}")
    print(f"good jobs: {len(seen.good)}, median {statistics.median(seen.good):.2f} s, longest {max(seen.good):.2f} s")
    print(f"gateway, most MiB in each round: {', '.join(f'{one:.0f}' for one in seen.most)}")
    print(f"gateway, MiB after each round: {', '.join(f'{one:.0f}' for one in seen.left)}")
    print(f"grew by {seen.left[-1] - seen.left[0]:.1f} MiB since the first round")
    print(f"{len(seen.wrong)} answers that should not be")
    for one in seen.wrong[:20]:
        print(f"  {one}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="minutes of it; the first one warms up")
    rounds = parser.parse_args().rounds
    with stack() as (running, folder):
        print(f"gateway before: {resident(running, 'gateway'):.0f} MiB", flush=True)
        tell(asyncio.run(run(running, hostile_requests.target_of(running, folder), rounds)))


if __name__ == "__main__":
    main()
