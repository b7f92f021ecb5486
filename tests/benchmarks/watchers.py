"""How many follow jobs through one gateway: memory per stream, and how long a change takes to reach everybody.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.watchers --streams 3000`
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from cli.stack.state import StackState, read_state

ROOT = Path(__file__).parents[2]
#: As a frontend would: many jobs, a few pages look at each.
WATCHERS_OF_A_JOB = 10
MIB = 1024 * 1024


@contextmanager
def stack() -> Iterator[StackState]:
    """A stack whose generators take nothing, so that jobs change only when the benchmark changes them."""
    with tempfile.TemporaryDirectory() as folder:
        cli = [sys.executable, "-P", "-m", "cli"]
        subprocess.run([*cli, "up", "--detach", "--http", "127.0.0.1:0", "--data", folder], check=True, cwd=ROOT)
        try:
            found = read_state(Path(folder))
            assert found is not None
            for pid in found.pids["generator"]:
                psutil.Process(pid).suspend()
            yield found
        finally:
            for pid in found.pids["generator"] if found else ():
                psutil.Process(pid).resume()
            subprocess.run([*cli, "down", "--data", folder], check=True, cwd=ROOT)


async def watch(stack: StackState, job_id: str, opened: asyncio.Semaphore) -> float:
    """Follow a job to its end; returns when that was heard."""
    where = urlsplit(stack.http)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n"
    writer.write(head.encode())
    async for line in reader:
        if line.startswith(b"event: job"):
            opened.release()
            break
    async for line in reader:
        if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "canceled":
            break
    heard = time.monotonic()
    writer.close()
    return heard


def memory(stack: StackState) -> dict[str, float]:
    """Resident memory in MiB of the two processes that a stream goes through."""
    return {
        name: sum(psutil.Process(pid).memory_info().rss for pid in stack.pids[name]) / MIB
        for name in ("gateway", "job")
    }


async def measure(stack: StackState, streams: int) -> None:
    """Open streams, cancel every job, print what that took."""
    async with httpx.AsyncClient(base_url=stack.http, trust_env=False, timeout=30) as client:
        jobs = [
            (await client.post("/v1/jobs", json={"prompt": f"watched {number}"})).json()["id"]
            for number in range(streams // WATCHERS_OF_A_JOB)
        ]
        before, opened, began = memory(stack), asyncio.Semaphore(0), time.monotonic()
        watching = [asyncio.create_task(watch(stack, job, opened)) for job in jobs for _ in range(WATCHERS_OF_A_JOB)]
        for _ in watching:
            await opened.acquire()
        print(f"{len(watching)} streams of {len(jobs)} jobs opened in {time.monotonic() - began:.1f} s")
        for name, used in memory(stack).items():
            print(f"{name}: {used:.0f} MiB, {(used - before[name]) * 1024 / len(watching):.1f} KiB a stream")
        took: list[float] = []
        for number, job in enumerate(jobs):
            told = time.monotonic()
            await client.post(f"/v1/jobs/{job}/cancel")
            mine = watching[number * WATCHERS_OF_A_JOB : (number + 1) * WATCHERS_OF_A_JOB]
            took += [heard - told for heard in await asyncio.gather(*mine)]
        median, longest = statistics.median(took) * 1000, max(took) * 1000
        print(f"a change is heard after {median:.0f} ms (median), {longest:.0f} ms (longest)")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3_000)
    streams = parser.parse_args().streams
    with stack() as running:
        asyncio.run(measure(running, streams))


if __name__ == "__main__":
    main()
