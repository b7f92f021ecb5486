"""Part (g): memory of each process while images of 20 MB pass through it."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from tests.benchmarks.pipeline import rate
from tests.benchmarks.processes import memory
from tests.benchmarks.results import Measurement
from tests.benchmarks.running import bearer, stack_with_provider

#: Side in pixels of an image of noise, of 20 MB as PNG.
SIDE = 2_581
SAMPLE_SECONDS = 0.1


@contextmanager
def sampled(pids: Mapping[str, list[int]]) -> Iterator[dict[str, float]]:
    """Yields the most memory in MiB that each process had during the block."""
    most: dict[str, float] = {}
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            for name, used in memory(pids).items():
                most[name] = max(used, most.get(name, 0.0))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def run(*, images: int, rounds: int, side: int = SIDE) -> list[Measurement]:
    """Measures rounds of so many jobs; memory is flat if each round has the maximum of the one before."""
    with stack_with_provider(side=side) as (running, _):
        peaks: list[dict[str, float]] = []

        async def measure() -> list[float]:
            rates = []
            async with httpx.AsyncClient(
                base_url=running.http, headers=bearer(running), trust_env=False, timeout=300
            ) as client:
                await rate(client, images)
                for _ in range(rounds):
                    with sampled(running.pids) as most:
                        rates.append((await rate(client, images))[0])
                    peaks.append(most)
            return rates

        rates = asyncio.run(measure())
    megabytes = f"{3 * side * side / 1_000_000:.0f} MB"
    return [
        Measurement(part="large images", name=f"jobs with {megabytes}", unit="1/s", values=rates),
        *(
            Measurement(
                part="large images",
                name="most memory in a round",
                unit="MiB",
                values=[peak[name] for peak in peaks],
                labels={"of": name},
            )
            for name in peaks[0]
        ),
    ]
