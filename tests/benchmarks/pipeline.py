"""Jobs per second, added latency, and processor time per job of each process, with a provider that answers at once.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.pipeline [--jobs 480] [--rounds 3] [--statements]`
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, create_engine, make_url, text

from cli.stack.state import StackState, read_state
from common.postgres import driver_url
from tests.benchmarks.running import ROOT, bearer, stack

CLIENTS = 16
STATEMENTS = """
SELECT calls, total_plan_time + total_exec_time, total_plan_time, query FROM pg_stat_statements
WHERE query NOT LIKE '%pg_stat_statements%' ORDER BY 2 DESC
"""
PROVIDERS = """
default: instant
providers:
  - name: instant
    kind: openai
    base_url: http://127.0.0.1:{port}
    api_key_env: INSTANT_KEY
    models: [{{name: m, price_micros_per_image: 1}}]
    max_concurrency: 64
"""


@contextmanager
def instant_provider() -> Iterator[int]:
    """The port of the provider, a process of its own."""
    command = [sys.executable, "-P", "-m", "tests.benchmarks.instant_provider"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def processor_times(running: StackState) -> dict[str, float]:
    """Processor seconds so far, by the name of the process; child processes that ended do not count."""
    found: dict[str, float] = {}
    for name, pids in running.pids.items():
        for pid in pids:
            process = psutil.Process(pid)
            for each in (process, *process.children(recursive=True)):
                times = each.cpu_times()
                found[name] = found.get(name, 0.0) + times.user + times.system
    return found


async def complete(client: httpx.AsyncClient, job_id: str) -> dict[str, object]:
    """Waits until a job is final."""
    while True:
        job = (await client.get(f"/v1/jobs/{job_id}")).raise_for_status().json()
        if job["status"] in ("completed", "failed"):
            assert job["status"] == "completed", job
            return job
        await asyncio.sleep(0.05)


async def rate(client: httpx.AsyncClient, jobs: int) -> tuple[float, float]:
    """Jobs per second, and posts per second, of jobs that are submitted by clients at once."""
    numbers = iter(range(jobs))
    ids: list[str] = []

    async def submit() -> None:
        for number in numbers:
            answer = await client.post("/v1/jobs", json={"prompt": f"a lighthouse {number}"})
            ids.append(answer.raise_for_status().json()["id"])

    began = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(CLIENTS)))
    posted = time.perf_counter() - began
    # The last ones first: as soon as they are complete most others are.
    for job_id in reversed(ids):
        await complete(client, job_id)
    return jobs / (time.perf_counter() - began), jobs / posted


async def latency(client: httpx.AsyncClient, jobs: int) -> list[float]:
    """Milliseconds from a submission to completion, one job after the other."""
    taken = []
    for number in range(jobs):
        began = time.perf_counter()
        answer = await client.post("/v1/jobs", json={"prompt": f"alone {number}"}, headers={"Prefer": "wait=60"})
        job = answer.raise_for_status().json()
        assert job["status"] == "completed", job
        taken.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.05)
    return taken


def superuser(running: StackState, data: Path) -> Engine:
    """Connections as the superuser."""
    password = (data / "postgres.password").read_text().strip()
    url = make_url(running.database_url).set(username="postgres", password=password)
    return create_engine(driver_url(url.render_as_string(hide_password=False)))


def watch_statements(data: Path) -> StackState:
    """Starts the stack again with pg_stat_statements, which the server loads only at its start."""
    cli = [sys.executable, "-P", "-m", "cli"]
    subprocess.run([*cli, "down", "--data", str(data)], check=True, cwd=ROOT)
    with (data / "postgres" / "postgresql.conf").open("a") as file:
        file.write("shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track_planning = on\n")
    up = [*cli, "up", "--detach", "--require-auth", "--http", "127.0.0.1:0", "--data", str(data)]
    subprocess.run(up, check=True, cwd=ROOT)
    running = read_state(data)
    assert running is not None
    with superuser(running, data).begin() as connection:
        connection.execute(text("CREATE EXTENSION pg_stat_statements"))
    return running


def statements(running: StackState, data: Path, jobs: int, *, top: int) -> None:
    """Prints the statements that took the most of PostgreSQL's time."""
    with superuser(running, data).begin() as connection:
        rows = connection.execute(text(STATEMENTS)).all()
        made, taken, planned = (sum(row[column] for row in rows) / jobs for column in (0, 1, 2))
        print(f"statements per job: {made:.1f}, ms: {taken:.2f}, planning {planned:.2f}")
        for calls, total, plan, query in rows[:top]:
            shortened = " ".join(query.split())[:110]
            print(f"{calls / jobs:6.2f} calls {total / jobs:7.3f} ms (plan {plan / jobs:.3f}) {shortened}")


async def measure(running: StackState, jobs: int, rounds: int) -> None:
    limits = httpx.Limits(max_connections=CLIENTS + 4)
    async with httpx.AsyncClient(
        base_url=running.http, headers=bearer(running), trust_env=False, timeout=90, limits=limits
    ) as client:
        await rate(client, 64)
        rates, posts, cpu = [], [], []
        for _ in range(rounds):
            before = processor_times(running)
            per_second, posted = await rate(client, jobs)
            after = processor_times(running)
            rates.append(per_second)
            posts.append(posted)
            cpu.append({name: 1000 * (after[name] - before.get(name, 0)) / jobs for name in after})
        spread = f"{min(rates):.1f} to {max(rates):.1f}"
        print(f"jobs/s {statistics.median(rates):.1f} ({spread}), posts/s {statistics.median(posts):.0f}")
        names = sorted(cpu[0])
        medians = {name: statistics.median(one[name] for one in cpu) for name in names}
        print(
            "CPU ms per job:",
            ", ".join(f"{name} {value:.1f}" for name, value in medians.items()),
            f"= {sum(medians.values()):.1f}",
        )
        alone = sorted(await latency(client, 60))
        print(f"latency ms: p50 {statistics.median(alone):.1f}, p95 {alone[int(len(alone) * 0.95)]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--top", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, instant_provider() as port:
        file = Path(folder) / "providers.yaml"
        file.write_text(PROVIDERS.format(port=port))
        os.environ["CALOTYPE_PROVIDERS_FILE"], os.environ["INSTANT_KEY"] = str(file), "key"
        with stack() as (running, data):
            if asked.top:
                running = watch_statements(data)
            asyncio.run(measure(running, asked.jobs, asked.rounds))
            if asked.top:
                statements(running, data, asked.jobs * asked.rounds + 124, top=asked.top)


if __name__ == "__main__":
    main()
