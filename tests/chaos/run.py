"""One run: load and faults together, then peace, then the check."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import psycopg2

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from tests.chaos import breakers, peace
from tests.chaos import history as reading
from tests.chaos.clock import STEP_SECONDS
from tests.chaos.covered import coverage
from tests.chaos.evidence import Evidence, Struck
from tests.chaos.facts import facts_at
from tests.chaos.history import History
from tests.chaos.killer import Killer, Score
from tests.chaos.load import Load
from tests.chaos.rules import check
from tests.chaos.stack import ChaosStack, chaos_stack
from tests.chaos.tuning import LEASE_SECONDS, MONITOR_INTERVAL_SECONDS
from tests.chaos.versions import Versions
from tests.chaos.webhooks import Webhooks, webhooks_at

#: What a machine with nothing else to do takes for the steps of a rescue.
NOISE_SECONDS = 5.0
#: Longest time from a worker's end to the next step of the job that it held.
RESCUE_SECONDS = LEASE_SECONDS + 2 * MONITOR_INTERVAL_SECONDS + NOISE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long at most, from which seed, and what is enough: faults that hit, jobs, hits of each cell.

    However long it takes, `fewest` faults hit, and jobs end in each way of `ends`. A rescue may take `noise` seconds
    longer than leases and looks do. Restarts go to another version and back where `other` is a checkout of one; with
    `upgrades`, everything begins as that version, and processes are replaced by this one one by one, evenly over the
    time. The buckets are looked at again `later`, in seconds. With failover, PostgreSQL has a synchronous standby, NATS
    is a cluster of three, and both fail over. `only` is a pattern that is found in the names of the faults that are
    wanted.
    """

    seed: int
    minutes: float
    faults: int
    jobs: int
    least: int
    at_once: int
    replicas: int
    longest_outage: float
    other: Path | None = None
    upgrades: bool = False
    failover: bool = False
    only: str = ""
    fewest: int = 0
    ends: frozenset[str] = frozenset()
    noise: float = NOISE_SECONDS
    later: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    plan: Plan
    score: Score
    cells: Sequence[tuple[str, str, str]]
    jobs: int
    broken: Mapping[str, Sequence[str]]
    rescues: Sequence["Rescue"]
    covered: Mapping[str, int]
    #: Faults that this machine or plan could not play, with the reason.
    unplayed: Mapping[str, str]
    #: How often another server took over, by the fault's name.
    failovers: Mapping[str, int]
    #: Failovers that were wanted, and did not happen.
    missing_failovers: Sequence[str]
    #: Processes that were replaced by the newer version, in order.
    replaced: Sequence[str]

    @property
    def holds(self) -> bool:
        """Whether all rules hold, and every failover that was wanted has happened; at least one with failover."""
        has_failed_over = not self.plan.failover or any(self.failovers.values())
        return not any(self.broken.values()) and not self.missing_failovers and has_failed_over


def run(plan: Plan, folder: Path) -> Result:
    """Run the plan on a stack of its own, with all its data in the folder."""
    versions = Versions(plan.other, upgrades=plan.upgrades)
    with chaos_stack(
        folder, seed=plan.seed, replicas=plan.replicas, versions=versions, failover=plan.failover
    ) as stack:
        return play(plan, stack)


def play(plan: Plan, stack: ChaosStack) -> Result:
    """Run the plan on a stack that is up; it is at peace afterwards."""
    with connected(stack) as connection:
        breakers.remember(connection)
    with webhooks_at(stack.addresses, seed=plan.seed) as webhooks:
        webhooks.subscribe()
        load = Load(stack.addresses.gateways, seed=plan.seed, at_once=plan.at_once, callbacks=webhooks.callback)
        with facts_at(stack.addresses.nats_url) as facts:
            killer = Killer(stack, facts, seed=plan.seed, longest_outage=plan.longest_outage, only=plan.only)
            replaced = _strike(plan, load, killer, stack)
        load.finish(seconds=peace.PEACE_SECONDS)
        _keep(plan, stack, load, webhooks, killer.score)
    with connected(stack) as connection:
        found = read(connection, stack)
    rescues = rescues_of(killer.score, found, noise=plan.noise)
    late = [f"{one.job_id} waited {one.seconds:.1f} s." for one in rescues if one.seconds > one.allowed]
    return Result(
        plan=plan,
        score=killer.score,
        cells=killer.cells,
        jobs=len(load.accepted),
        broken={**check(found), "rescued_in_time": late, "nobody_was_surprised": load.surprises},
        rescues=rescues,
        covered=coverage(found),
        unplayed=killer.unplayed
        | ({} if plan.other else {"two versions": "no --other"})
        | ({} if plan.failover else {"failovers": "no --failover"}),
        failovers=killer.failovers,
        missing_failovers=killer.missing_failovers,
        replaced=replaced,
    )


def _strike(plan: Plan, load: Load, killer: Killer, stack: ChaosStack) -> list[str]:
    """Load and faults, until both were enough; returns the processes that were replaced by the newer version."""
    load.start()
    began = time.monotonic()
    stack.versions.migrate()
    older = stack.versions.older()
    replaced: list[str] = []

    def is_enough() -> bool:
        counted = killer.score.counted
        wanted = counted < plan.faults or len(load.accepted) < plan.jobs or killer.empty_cells(least=plan.least)
        is_due = counted >= plan.fewest and plan.ends <= load.ends and not killer.missing_failovers
        return is_due and (time.monotonic() >= began + plan.minutes * 60 or not wanted)

    while not is_enough():
        passed = (time.monotonic() - began) / (plan.minutes * 60)
        if len(replaced) < min(round(passed * len(older)), len(older)):
            _replace(older[len(replaced)], killer, stack)
            replaced.append(older[len(replaced)])
        else:
            killer.strike()
    for name in older[len(replaced) :]:
        _replace(name, killer, stack)
        replaced.append(name)
    return replaced


def _replace(name: str, killer: Killer, stack: ChaosStack) -> None:
    stack.replace_version(name)
    killer.restart(name)


def evidence_of(stack: ChaosStack) -> Evidence:
    """What a run has left behind beside the stores."""
    return Evidence(folder=stack.folder / "evidence")


def _keep(plan: Plan, stack: ChaosStack, load: Load, webhooks: Webhooks, score: Score) -> None:
    """Wait until nothing is left to do, and go on without that: the rules say what is missing."""
    kept = evidence_of(stack)
    kept.folder.mkdir(exist_ok=True)
    struck = [Struck(fault=one.fault, victims=one.victims, at=one.at, until=one.until) for one in score.all_strikes]
    with connected(stack) as connection:
        drained = peace.await_drained(connection) | {"webhooks": webhooks.finish(seconds=peace.PEACE_SECONDS)}
        load.look_again()
        load.write(kept.promises)
        webhooks.write(kept.received)
        known = {"noise": plan.noise, "longest_outage": plan.longest_outage, "struck": struck, "drained": drained}
        kept.write_peace(peace.observed(stack, connection, later=plan.later, **known))
    peace.write_feed(stack, kept.feed)
    shutil.copyfile(stack.addresses.books, kept.books)


@contextmanager
def connected(stack: ChaosStack) -> Iterator[Any]:
    """A look into the stack's database; nothing of it is kept."""
    connection = psycopg2.connect(stack.addresses.database_url, connect_timeout=3)
    try:
        yield connection
    finally:
        connection.close()


def read(
    connection: Any, stack: ChaosStack, *, evidence: Evidence | None = None, like: History | None = None
) -> History:
    """The history of a stack at peace; with the buckets of another, where they have not changed since."""
    return reading.read(
        connection,
        evidence=evidence or evidence_of(stack),
        storage_url=stack.addresses.storage_url,
        bucket=BUCKET,
        staging_bucket=STAGING_BUCKET,
        like=like,
    )


@dataclass(frozen=True, kw_only=True)
class Rescue:
    """How long a job of a killed worker waited for its next step, and how long it may wait; in seconds."""

    job_id: str
    seconds: float
    allowed: float


def rescues_of(score: Score, history: History, *, noise: float = NOISE_SECONDS) -> list[Rescue]:
    """Every job that a killed worker held, where nothing else was struck within its time."""
    found: list[Rescue] = []
    for number, strike in enumerate(score.strikes):
        if not strike.fault.startswith("kill"):
            continue
        following = score.strikes[number + 1 : number + 2]
        undisturbed = (following[0].at - strike.at).total_seconds() if following else inf
        allowed = RESCUE_SECONDS - NOISE_SECONDS + noise + _held_back(score, number)
        for job_id, sequence in strike.held:
            if job_id not in history.events:
                # Deleted since; nobody knows its steps any more.
                continue
            moved = _next_move(history, job_id, sequence)
            seconds = inf if moved is None else (moved - strike.at).total_seconds()
            if min(seconds, allowed) < undisturbed:
                found.append(Rescue(job_id=job_id, seconds=seconds, allowed=allowed))
    return found


def _held_back(score: Score, number: int) -> float:
    """Seconds for which the monitor may hold back: its clock, database or broker was struck just before.

    A lease ends the later by as much as the database's clock was set back.
    """
    at = score.strikes[number].at
    # A failover takes a while, and what it stalls goes on at its end.
    earlier = [one for one in score.all_strikes if one.at < at < one.until + timedelta(seconds=2 * RESCUE_SECONDS)]
    is_stalled = any(one.kinds & {"job", "postgres", "nats", "clock"} for one in earlier)
    set_back = sum(one.fault == "clock back" for one in earlier)
    return (LEASE_SECONDS if is_stalled else 0.0) + set_back * STEP_SECONDS


def _next_move(history: History, job_id: str, sequence: int) -> datetime | None:
    moments = [event["occurred_at"] for event in history.events.get(job_id, ()) if event["sequence"] > sequence]
    moved: datetime | None = moments[0] if moments else None
    return moved
