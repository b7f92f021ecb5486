"""Part (d): how long a change takes to reach all who follow it, and what a stream costs.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.watchers --streams 3000` also kills job-service meanwhile.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx
import psutil

from cli.stack.state import StackState
from tests.benchmarks.results import Measurement, percentiles, title
from tests.benchmarks.running import bearer, resident, stack, suspended

#: As a frontend would: many jobs, a few pages look at each.
WATCHERS_OF_A_JOB = 10
#: Jobs, at least, so that there are enough samples with few streams.
FEWEST_JOBS = 20


async def watch(stack: StackState, job_id: str, opened: asyncio.Semaphore) -> float:
    """Follows a job to its end; returns when its last event was read. Repeats a refused request, as pages do."""
    where = urlsplit(stack.http)
    shown = "".join(f"{name}: {value}\r\n" for name, value in bearer(stack).items())
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {where.netloc}\r\n{shown}\r\n"
    while True:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(head.encode())
        if b" 200 " in await reader.readline():
            break
        writer.close()
        await asyncio.sleep(2)
    async for line in reader:
        if line.startswith(b"event: job"):
            opened.release()
            break
    async for line in reader:
        if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "canceled":
            break
    else:
        raise AssertionError(f"the stream of {job_id} ended before its job")
    read_at = time.monotonic()
    writer.close()
    return read_at


async def until_open(watching: Sequence[asyncio.Task[float]], opened: asyncio.Semaphore) -> None:
    """Waits until every stream has sent its job; raises what any of them failed with."""

    async def count() -> None:
        for _ in watching:
            await opened.acquire()

    counting = asyncio.create_task(count())
    done, _ = await asyncio.wait({counting, *watching}, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


async def lags(client: httpx.AsyncClient, watching: Mapping[str, list[asyncio.Task[float]]]) -> list[float]:
    """Cancels jobs one after the other; returns milliseconds from each response to each event of its streams."""
    responded: dict[str, float] = {}
    for job in watching:
        while job not in responded:
            if (response := await client.post(f"/v1/jobs/{job}/cancel")).is_success:
                responded[job] = time.monotonic()
            else:
                assert response.status_code == 503, response.text
                await asyncio.sleep(0.2)
    # An event may be read before the response that it belongs to.
    return [
        1000 * max(0.0, read_at - responded[job])
        for job, streams in watching.items()
        for read_at in await asyncio.gather(*streams)
    ]


async def measure(stack: StackState, streams: int, *, kill: bool = False) -> list[Measurement]:
    """Opens streams and ends their jobs; with `kill`, the second half after job-service was killed."""
    labels = {"streams": streams}
    per_job = min(WATCHERS_OF_A_JOB, streams)
    # With few streams one is opened after the other.
    turns = max(1, FEWEST_JOBS // max(1, streams // per_job)) if streams < FEWEST_JOBS else 1
    found, samples = list[Measurement](), list[float]()
    async with httpx.AsyncClient(base_url=stack.http, headers=bearer(stack), trust_env=False, timeout=30) as client:
        for _ in range(turns):
            posts = [
                await client.post("/v1/jobs", json={"prompt": f"watched {number}"})
                for number in range(streams // per_job)
            ]
            before, opened, began = _memory(stack), asyncio.Semaphore(0), time.monotonic()
            watching = {
                job.json()["id"]: [asyncio.create_task(watch(stack, job.json()["id"], opened)) for _ in range(per_job)]
                for job in posts
            }
            await until_open([one for of_job in watching.values() for one in of_job], opened)
            took, after = time.monotonic() - began, _memory(stack)
            half = len(watching) // 2 if kill else len(watching)
            samples += await lags(client, dict([*watching.items()][:half]))
            if kill:
                psutil.Process(stack.pids["job"][0]).kill()
                late = await lags(client, dict([*watching.items()][half:]))
                found += percentiles("watchers", "event after the response, job-service killed", late, **labels)
    found += percentiles("watchers", "event after the response", samples, **labels)
    if streams >= 100:
        found.append(Measurement(part="watchers", name="all open", unit="s", values=[took], labels=labels))
        for name in before:
            grown = 1024 * (after[name] - before[name]) / streams
            of = labels | {"of": name}
            found.append(Measurement(part="watchers", name="memory of a stream", unit="KiB", values=[grown], labels=of))
    return found


def _memory(stack: StackState) -> dict[str, float]:
    return {name: resident(stack, name) for name in ("gateway", "job")}


def run(streams: Sequence[int], *, kill: bool = False) -> list[Measurement]:
    """Measures each number of streams with a stack whose generator is suspended, so that nothing else changes."""
    found = []
    for count in streams:
        with stack() as (running, _), suspended(running, "generator"):
            found += asyncio.run(measure(running, count, kill=kill))
    return found


def main() -> None:
    """Runs it alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3_000)
    for one in run([parser.parse_args().streams], kill=True):
        print(f"{title(one)}: {one.median:.1f} {one.unit}")


if __name__ == "__main__":
    main()
