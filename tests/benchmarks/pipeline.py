"""Parts (a), (b), (c) and (f): posts and jobs per second, processor time and memory, added latency by gap.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.pipeline [--jobs 480] [--rounds 3] [--top 20]`

The provider answers at once over HTTP with an image of 64 kB, so that what is measured is what is around it. `--top`
also prints the statements that took the most of PostgreSQL's time.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import closing

import httpx
import psycopg2
from prometheus_client.parser import text_string_to_metric_families

from cli.stack.state import StackState
from tests.benchmarks import statements
from tests.benchmarks.processes import memory, processor_times
from tests.benchmarks.results import Measurement, percentiles, title
from tests.benchmarks.running import bearer, stack_with_provider

#: Clients that submit at once, and the jobs before the first measured one.
CLIENTS, WARM_UP = 16, 64
#: Moments of a job in order, in seconds of the database's clock, which is that of this machine. Each gap is named by
#: the moment that ends it.
MOMENTS = """
SELECT extract(epoch FROM moment)::float8 FROM (VALUES
    (1, (SELECT created_at FROM jobs WHERE id = %(job)s)),
    (2, (SELECT occurred_at FROM job_events WHERE job_id = %(job)s AND type = 'job.claimed')),
    (3, (SELECT created_at FROM provider_calls WHERE job_id = %(job)s)),
    (4, (SELECT occurred_at FROM job_events WHERE job_id = %(job)s AND type = 'job.uploading')),
    (5, (SELECT occurred_at FROM job_events WHERE job_id = %(job)s AND type = 'job.upload_claimed')),
    (6, (SELECT occurred_at FROM job_events WHERE job_id = %(job)s AND type = 'job.completed'))
) AS moments (number, moment) ORDER BY number
"""
#: Metric: what it counts, and the label that tells which.
REQUESTS = {
    "calotype_rpc_server_duration_seconds_count": ("gRPC", "rpc_method"),
    "calotype_database_transaction_duration_seconds_count": ("transaction", "outcome"),
    "calotype_storage_operation_duration_seconds_count": ("storage", "operation"),
    "calotype_http_request_duration_seconds_count": ("HTTP", "route"),
}
GAPS = ("created", "claimed", "call recorded", "images staged", "upload claimed", "images stored", "response")


async def complete(client: httpx.AsyncClient, job_id: str) -> None:
    """Waits until a job is completed."""
    while True:
        job = (await client.get(f"/v1/jobs/{job_id}")).raise_for_status().json()
        if job["status"] in ("completed", "failed"):
            assert job["status"] == "completed", job
            return
        await asyncio.sleep(0.05)


async def rate(client: httpx.AsyncClient, jobs: int) -> tuple[float, float, list[float]]:
    """Submits jobs by clients at once; returns jobs per second, posts per second, and milliseconds of each post."""
    numbers, ids, taken = iter(range(jobs)), list[str](), list[float]()

    async def submit() -> None:
        for number in numbers:
            began = time.perf_counter()
            response = await client.post("/v1/jobs", json={"prompt": f"a lighthouse {number}"})
            ids.append(response.raise_for_status().json()["id"])
            taken.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(CLIENTS)))
    posted = time.perf_counter() - began
    # The last ones first: as soon as they are complete most others are.
    for job_id in reversed(ids):
        await complete(client, job_id)
    return jobs / (time.perf_counter() - began), jobs / posted, taken


async def alone(client: httpx.AsyncClient, database_url: str, jobs: int) -> list[list[float]]:
    """Submits one job after the other; returns the moments of each: before the submission, `MOMENTS`, the response."""
    found = []
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for number in range(jobs):
            began = time.time()
            response = await client.post("/v1/jobs", json={"prompt": f"alone {number}"}, headers={"Prefer": "wait=60"})
            ended, job = time.time(), response.raise_for_status().json()
            assert job["status"] == "completed", job
            cursor.execute(MOMENTS, {"job": job["id"]})
            found.append([began, *(moment for (moment,) in cursor.fetchall()), ended])
            await asyncio.sleep(0.05)
    return found


def gaps(moments: Sequence[Sequence[float]]) -> list[Measurement]:
    """Returns the percentiles of the whole latency and of each gap, in milliseconds."""
    found = percentiles("latency", "submission to response", [1000 * (job[-1] - job[0]) for job in moments])
    for index, name in enumerate(GAPS):
        samples = [1000 * (job[index + 1] - job[index]) for job in moments]
        found += percentiles("latency", f"until {name}", samples)
    return found


async def measure(running: StackState, *, jobs: int, rounds: int, single: int) -> list[Measurement]:
    """Measures rounds of many jobs, then single ones."""
    limits = httpx.Limits(max_connections=CLIENTS + 4)
    async with httpx.AsyncClient(
        base_url=running.http, headers=bearer(running), trust_env=False, timeout=90, limits=limits
    ) as client:
        idle = memory(running.pids)
        await rate(client, WARM_UP)
        measured, cpu, posts, calls = [], [], list[float](), await asyncio.to_thread(counters, running)
        for _ in range(rounds):
            before = processor_times(running.pids)
            measured.append(await rate(client, jobs))
            posts += measured[-1][2]
            after = processor_times(running.pids)
            cpu.append({name: 1000 * (after[name] - before[name]) / jobs for name in after})
        busy, later = memory(running.pids), await asyncio.to_thread(counters, running)
        found = [
            Measurement(part="pipeline", name="jobs", unit="1/s", values=[one[0] for one in measured]),
            Measurement(part="pipeline", name="posts while jobs run", unit="1/s", values=[one[1] for one in measured]),
            *percentiles("pipeline", "post while jobs run", posts),
        ]
        for name in cpu[0]:
            of = {"of": name}
            values = [one[name] for one in cpu]
            found.append(Measurement(part="processor time per job", name="cpu", unit="ms", values=values, labels=of))
        total = [sum(one.values()) for one in cpu]
        found.append(Measurement(part="processor time per job", name="all", unit="ms", values=total))
        for name, count in later.items():
            if each := (count - calls.get(name, 0)) / (jobs * rounds):
                found.append(Measurement(part="requests per job", name=name, unit="", values=[each]))
        found += memories("memory before the first job", idle) + memories("memory after the jobs", busy)
        return found + gaps(await alone(client, running.database_url, single))


def counters(running: StackState) -> dict[str, float]:
    """How often something was requested so far, summed over processes: gRPC methods, transactions, storage operations.

    Requests of workers that wait for work are counted, too; there are few of them while jobs run.
    """
    found: dict[str, float] = {}
    for url in (url for urls in running.admin.values() for url in urls):
        text = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status().text
        for sample in (one for family in text_string_to_metric_families(text) for one in family.samples):
            label = REQUESTS.get(sample.name)
            if label is not None:
                name = f"{label[0]} {sample.labels[label[1]]}"
                found[name] = found.get(name, 0.0) + sample.value
    return found


def memories(name: str, by_process: dict[str, float]) -> list[Measurement]:
    """Returns resident memory in MiB by process."""
    return [
        Measurement(part="memory", name=name, unit="MiB", values=[value], labels={"of": of})
        for of, value in by_process.items()
    ]


def main() -> None:
    """Runs it alone, and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--top", type=int, default=0)
    options = parser.parse_args()
    with stack_with_provider() as (running, data):
        if options.top:
            running = statements.watch_statements(data)
        found = asyncio.run(measure(running, jobs=options.jobs, rounds=options.rounds, single=60))
        for one in found:
            print(f"{one.part}: {title(one)} {one.median:.1f} {one.unit} {one.spread}")
        if options.top:
            count = options.jobs * options.rounds + WARM_UP + 60
            statements.statements(running, data, count, top=options.top)


if __name__ == "__main__":
    main()
