"""How many instances a rate of jobs needs, from what a job costs; and a simulation of their queues.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.sizing [out/bench/results.json]` prints the tables of
docs/performance.md. What the results lack is taken from `EARLIER`.
"""

import heapq
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.job.store.pools import CONNECTIONS
from tests.benchmarks.results import Measurement, number, percentile

#: Jobs a minute that the tables are for.
RATES = (10, 1_000, 100_000)
#: Share of a processor or a server that is planned for; the rest is for peaks, deployments and failures.
UTILIZATION = 0.6
#: Seconds of a provider call, and for how long finished jobs are kept.
PROVIDER_SECONDS, RETENTION_DAYS = 10.0, 90.0
#: Jobs that a generator works on at a time, and streams of a gateway; both are settings.
GENERATOR_SLOTS, GATEWAY_STREAMS = 16, 3_000
OWN = ("gateway", "job", "generator", "uploader", "notifier")
SERVERS = ("postgres", "nats", "storage")


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """What one job of one image costs."""

    #: Milliseconds of processor time, by process.
    cpu_ms: Mapping[str, float]
    #: Transactions, and bytes of the write-ahead log.
    transactions: float
    wal_bytes: float
    #: Bytes that a finished job keeps in the database, and rows of `job_events`.
    stored_bytes: float
    event_rows: float
    #: Messages, and their bytes.
    messages: float
    message_bytes: float
    #: Bytes of the image.
    image_bytes: float = 64_000.0
    #: What one server of this machine gives in a second: commits, confirmed messages, uploads. Empty without a run.
    ceilings: Mapping[str, float] = field(default_factory=dict)


#: Processor time measured on 2026-11-25 on two busy cores; the rest was counted on 2026-11-28.
EARLIER = JobCost(
    cpu_ms={
        "job": 13.0,
        "generator": 10.9,
        "postgres": 9.6,
        "storage": 5.5,
        "uploader": 4.3,
        "nats": 3.0,
        "gateway": 1.6,
        "notifier": 0.0,
    },
    transactions=8,
    wal_bytes=27_100,
    stored_bytes=12_000,
    event_rows=6,
    messages=11,
    message_bytes=11 * 540,
)


def cost_of(found: Sequence[Measurement]) -> JobCost:
    """Returns the cost that a run measured."""

    def total(part: str, name: str) -> float:
        return sum(one.median for one in found if (one.part, one.name) == (part, name))

    cpu = {
        str(one.labels["of"]): one.median for one in found if (one.part, one.name) == ("processor time per job", "cpu")
    }
    events = total("messages per job", "events")
    changes = {
        "cpu_ms": cpu,
        "wal_bytes": total("costs", "write-ahead log"),
        "stored_bytes": total("stored per job", "all"),
        "event_rows": events,
        "messages": events + total("messages per job", "wake-ups") + total("messages per job", "facts"),
        "ceilings": {one.name: one.median for one in found if one.part == "ceilings"},
    }
    return replace(EARLIER, **{name: value for name, value in changes.items() if value})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a rate needs."""

    #: Jobs a minute.
    rate: int
    #: Busy processors, by process, before the reserve.
    processors: Mapping[str, float]
    #: Processes of each service, with the reserve.
    instances: Mapping[str, int]


def plan(cost: JobCost, rate: int, *, provider_seconds: float = PROVIDER_SECONDS) -> Plan:
    """Plans for a rate in jobs a minute.

    A process of Python computes on one processor. A generator also holds a slot, and a gateway a stream, for as long as
    the provider takes.
    """
    per_second = rate / 60
    processors = {name: per_second * milliseconds / 1000 for name, milliseconds in cost.cpu_ms.items()}
    instances = {name: max(1, math.ceil(processors.get(name, 0.0) / UTILIZATION)) for name in OWN}
    # Each job is followed from its submission to its end, about as long as its provider takes.
    streams = per_second * provider_seconds / UTILIZATION
    instances["gateway"] = max(instances["gateway"], math.ceil(streams / GATEWAY_STREAMS))
    slots = per_second * provider_seconds / UTILIZATION
    instances["generator"] = max(instances["generator"], math.ceil(slots / GENERATOR_SLOTS))
    return Plan(rate=rate, processors=processors, instances=instances)


def limits(cost: JobCost) -> list[tuple[str, float]]:
    """Returns how many jobs a minute one of each can take, from the one that is reached first."""
    found = {f"a process of {name}": 1000 / ms for name, ms in cost.cpu_ms.items() if name in OWN and ms}
    found["slots of a generator"] = GENERATOR_SLOTS / PROVIDER_SECONDS
    found |= {f"a processor of {name}": 1000 / ms for name, ms in cost.cpu_ms.items() if name in SERVERS and ms}
    for server, name, each in (
        ("PostgreSQL", "commits of one row", cost.transactions),
        ("NATS", "confirmed messages", cost.messages),
        ("the object store", "uploads of 64 kB", 2.0),
    ):
        if name in cost.ceilings:
            found[f"{server}: {name}"] = cost.ceilings[name] / each
    return sorted(((name, 60 * rate) for name, rate in found.items()), key=lambda limit: limit[1])


@dataclass(frozen=True, kw_only=True)
class Station:
    """Servers that a job visits; each serves one job at a time, first come, first served."""

    #: Name, of a process.
    name: str
    #: Servers.
    servers: int
    #: Mean seconds of each visit, in the order of a job's visits.
    visits: Sequence[float]


def simulate(stations: Sequence[Station], *, rate: float, jobs: int, seed: int = 1) -> list[float]:
    """Returns the seconds that each job waited for a free server, over all its visits.

    Jobs arrive at random (Poisson) at `rate` a second, and visit the stations in turn: the first visit of each, then
    the second of each. Times of service are exponential.
    """
    rng = random.Random(seed)
    route = [
        (index, station.visits[turn])
        for turn in range(max(len(station.visits) for station in stations))
        for index, station in enumerate(stations)
        if turn < len(station.visits)
    ]
    free = [[0.0] * station.servers for station in stations]
    waited = [0.0] * jobs
    arrivals, now = list[tuple[float, int, int]](), 0.0
    for job in range(jobs):
        now += rng.expovariate(rate)
        arrivals.append((now, job, 0))
    heapq.heapify(arrivals)
    while arrivals:
        now, job, step = heapq.heappop(arrivals)
        station, seconds = route[step]
        begun = max(now, heapq.heappop(free[station]))
        waited[job] += begun - now
        ended = begun + (rng.expovariate(1 / seconds) if seconds else 0.0)
        heapq.heappush(free[station], ended)
        if step + 1 < len(route):
            heapq.heappush(arrivals, (ended, job, step + 1))
    return waited


def stations_of(cost: JobCost, planned: Plan) -> list[Station]:
    """Returns the stations of a plan: job-service and PostgreSQL are visited in each of four stages."""
    cpu = {name: milliseconds / 1000 for name, milliseconds in cost.cpu_ms.items()}
    slots = planned.instances["generator"] * GENERATOR_SLOTS
    database = max(1, math.ceil(planned.processors.get("postgres", 0.0) / UTILIZATION))
    return [
        Station(name="gateway", servers=planned.instances["gateway"], visits=[cpu["gateway"]]),
        Station(name="job", servers=planned.instances["job"], visits=[cpu["job"] / 4] * 4),
        Station(name="postgres", servers=database, visits=[cpu["postgres"] / 4] * 4),
        Station(name="generator slots", servers=slots, visits=[0.0, PROVIDER_SECONDS]),
        Station(name="uploader", servers=planned.instances["uploader"], visits=[0.0, 0.0, cpu["uploader"]]),
    ]


def report(found: Sequence[Measurement]) -> str:
    """Returns the tables of sizing, in Markdown."""
    cost = cost_of(found)
    return "\n".join([*_plans(cost), "", *_limits(cost), ""])


def _plans(cost: JobCost) -> Iterator[str]:
    plans = [plan(cost, rate) for rate in RATES]
    yield f"| | {' | '.join(f'{one.rate:,} jobs a minute' for one in plans)} |"
    yield f"| --- |{' ---: |' * len(plans)}"
    for name in OWN:
        yield _row(f"processes of {name}", [one.instances[name] for one in plans])
    for name in SERVERS:
        cores = [one.processors.get(name, 0.0) / UTILIZATION for one in plans]
        yield _row(f"processors of {name}", [max(0.1, value) for value in cores])
    yield _row("connections of job-service to PostgreSQL", [one.instances["job"] * CONNECTIONS for one in plans])
    seconds = [one.rate / 60 for one in plans]
    yield _row("commits a second", [each * cost.transactions for each in seconds])
    yield _row("write-ahead log, MB a second", [each * cost.wal_bytes / 1e6 for each in seconds])
    yield _row("messages a second", [each * cost.messages for each in seconds])
    days = [one.rate * 1440 * RETENTION_DAYS for one in plans]
    yield _row(f"database after {RETENTION_DAYS:.0f} days, GB", [each * cost.stored_bytes / 1e9 for each in days])
    yield _row("rows of job_events, millions", [each * cost.event_rows / 1e6 for each in days])
    yield _row("images of 1 MB after as long, TB", [each / 1e6 for each in days])
    waits = [_waits(cost, one) for one in plans]
    for percent in (50, 99):
        milliseconds = [1000 * percentile(one, percent) for one in waits]
        yield _row(f"waiting for a free process, p{percent}, ms (simulated)", milliseconds)


def _waits(cost: JobCost, planned: Plan) -> list[float]:
    """Simulates a minute, and at least a thousand jobs; the first half fills the stations."""
    count = max(1_000, planned.rate)
    return simulate(stations_of(cost, planned), rate=planned.rate / 60, jobs=count)[count // 2 :]


def _limits(cost: JobCost) -> Iterator[str]:
    yield "| one of each | jobs a minute |"
    yield "| --- | ---: |"
    for name, rate in limits(cost):
        yield f"| {name} | {rate:,.0f} |"


def _row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:,}' if isinstance(value, int) else number(value) for value in values)} |"


def main() -> None:
    """Prints the report of stored results, or of what was measured earlier."""
    found: list[Measurement] = []
    if sys.argv[1:]:
        stored = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["measurements"]
        found = [Measurement(**{name: value for name, value in one.items() if name != "median"}) for one in stored]
    print(report(found))


if __name__ == "__main__":
    main()
