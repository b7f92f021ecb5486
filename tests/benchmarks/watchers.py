"""How many follow jobs through one gateway: memory per stream, and how long a change takes to reach everybody.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.watchers --streams 3000`
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx
import psutil

from cli.stack.state import StackState
from tests.benchmarks.running import bearer, resident, stack, suspended

#: As a frontend would: many jobs, a few pages look at each.
WATCHERS_OF_A_JOB = 10


async def watch(stack: StackState, job_id: str, opened: asyncio.Semaphore, refused: list[bytes]) -> float:
    """Follow a job to its end; returns when that was heard. Whoever is refused comes again, as pages do."""
    where = urlsplit(stack.http)
    shown = "".join(f"{name}: {value}\r\n" for name, value in bearer(stack).items())
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {where.netloc}\r\n{shown}\r\n"
    while True:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(head.encode())
        if b" 200 " in (status := await reader.readline()):
            break
        refused.append(status)
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
    heard = time.monotonic()
    writer.close()
    return heard


async def until_open(watching: list[asyncio.Task[float]], opened: asyncio.Semaphore) -> None:
    """Wait until every stream has told its job; raises what any of them failed with."""

    async def count() -> None:
        for _ in watching:
            await opened.acquire()

    counting = asyncio.create_task(count())
    done, _ = await asyncio.wait({counting, *watching}, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


def memory(stack: StackState) -> dict[str, float]:
    """Resident memory in MiB of the two processes that a stream goes through."""
    return {name: resident(stack, name) for name in ("gateway", "job")}


async def cancel(client: httpx.AsyncClient, jobs: Sequence[str]) -> dict[str, float]:
    """Cancel one after the other, however long that is refused; when each was."""
    told: dict[str, float] = {}
    for job in jobs:
        while job not in told:
            if (answer := await client.post(f"/v1/jobs/{job}/cancel")).is_success:
                told[job] = time.monotonic()
            else:
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.2)
    return told


async def tell(name: str, client: httpx.AsyncClient, watching: Mapping[str, list[asyncio.Task[float]]]) -> None:
    """Cancel these jobs, and print when it was heard."""
    told = await cancel(client, [*watching])
    delays = [heard - told[job] for job, ones in watching.items() for heard in await asyncio.gather(*ones)]
    print(f"{name} is heard {statistics.median(delays):.2f} s (median), {max(delays):.2f} s (longest) after its answer")


async def measure(stack: StackState, streams: int) -> None:
    """Open streams; cancel half of the jobs, then the others after job-service was killed; print what that took."""
    async with httpx.AsyncClient(base_url=stack.http, headers=bearer(stack), trust_env=False, timeout=30) as client:
        jobs = [
            (await client.post("/v1/jobs", json={"prompt": f"watched {number}"})).json()["id"]
            for number in range(streams // WATCHERS_OF_A_JOB)
        ]
        before, opened, refused, began = memory(stack), asyncio.Semaphore(0), list[bytes](), time.monotonic()
        watching = {
            job: [asyncio.create_task(watch(stack, job, opened, refused)) for _ in range(WATCHERS_OF_A_JOB)]
            for job in jobs
        }
        everybody = [one for of_job in watching.values() for one in of_job]
        await until_open(everybody, opened)
        took = time.monotonic() - began
        print(f"{len(everybody)} streams of {len(jobs)} jobs opened in {took:.1f} s; {len(refused)} had to ask again")
        for name, used in memory(stack).items():
            print(f"{name}: {used:.0f} MiB, {(used - before[name]) * 1024 / len(everybody):.1f} KiB a stream")
        half = len(jobs) // 2
        await tell("a change", client, {job: watching[job] for job in jobs[:half]})
        psutil.Process(stack.pids["job"][0]).kill()
        await tell("a change after job-service was killed", client, {job: watching[job] for job in jobs[half:]})


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3_000)
    streams = parser.parse_args().streams
    # Nothing changes but what the benchmark changes.
    with stack() as (running, _), suspended(running, "generator"):
        asyncio.run(measure(running, streams))


if __name__ == "__main__":
    main()
