"""One run: load and faults together, then peace, then the check."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg2

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from tests.chaos import history as reading
from tests.chaos.history import History
from tests.chaos.killer import Killer, Score
from tests.chaos.load import Load
from tests.chaos.rules import check
from tests.chaos.stack import LEASE_SECONDS, MONITOR_INTERVAL_SECONDS, ChaosStack, chaos_stack

#: Longest time from a worker's end to the next step of the job that it held.
RESCUE_SECONDS = LEASE_SECONDS + 2 * MONITOR_INTERVAL_SECONDS + 5
#: Longest time for all jobs to end once there are no faults any more.
PEACE_SECONDS = 240.0
OPEN_WORK = """
SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM deletions)
    + (SELECT count(*) FROM provider_calls WHERE phase IN ('intended', 'accepted'))
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long at most, from which seed, and what is enough: faults that hit, jobs, hits of each cell."""

    seed: int
    minutes: float
    faults: int
    jobs: int
    least: int
    at_once: int
    longest_outage: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    plan: Plan
    score: Score
    cells: Sequence[tuple[str, str, str]]
    jobs: int
    surprises: Sequence[str]
    broken: Mapping[str, Sequence[str]]
    rescues: Sequence[float]
    history: History


def run(plan: Plan, folder: Path) -> Result:
    """Run the plan with all its data in the folder."""
    with chaos_stack(folder, seed=plan.seed) as stack:
        load = Load(stack.addresses.http, seed=plan.seed, at_once=plan.at_once)
        killer = Killer(stack, seed=plan.seed, longest_outage=plan.longest_outage)
        load.start()
        deadline = time.monotonic() + plan.minutes * 60
        while time.monotonic() < deadline and (
            killer.score.counted < plan.faults or len(load.accepted) < plan.jobs or killer.empty_cells(least=plan.least)
        ):
            killer.strike()
        load.finish(seconds=PEACE_SECONDS)
        load.write(folder / "promises.json")
        _until(lambda: _open_work(stack) == 0, seconds=PEACE_SECONDS)
        found = read(stack, folder)
    broken = {name: list(problems) for name, problems in check(found).items()}
    rescues = rescue_seconds(killer.score, found)
    broken["rescued_in_time"] = [f"A job waited {one:.1f} s." for one in rescues if one > RESCUE_SECONDS]
    broken["nobody_was_surprised"] = load.surprises
    return Result(
        plan=plan,
        score=killer.score,
        cells=killer.cells,
        jobs=len(load.accepted),
        surprises=load.surprises,
        broken=broken,
        rescues=rescues,
        history=found,
    )


def read(stack: ChaosStack, folder: Path) -> History:
    """The history of a stack at peace."""
    where = stack.addresses
    return reading.read(
        promises=reading.promises_in(folder / "promises.json"),
        database_url=where.database_url,
        books=where.books,
        storage_url=where.storage_url,
        bucket=BUCKET,
        staging_bucket=STAGING_BUCKET,
    )


def rescue_seconds(score: Score, history: History) -> list[float]:
    """How long jobs of a killed worker waited, where nothing else was struck meanwhile."""
    found = []
    strikes = score.strikes
    for number, strike in enumerate(strikes):
        if not strike.fault.startswith("kill") or strike.at is None:
            continue
        following = next((one.at for one in strikes[number + 1 :] if one.at is not None), None)
        for job_id, _, sequence in strike.held:
            moved = _next_move(history, job_id, sequence)
            others = [one for one in strikes[number + 1 : number + 3] if one.at is None]
            if moved is None or (following is not None and moved > following) or others:
                continue
            found.append((moved - strike.at).total_seconds())
    return found


def _next_move(history: History, job_id: str, sequence: int) -> datetime | None:
    moments = [event["occurred_at"] for event in history.events.get(job_id, ()) if event["sequence"] > sequence]
    moved: datetime | None = moments[0] if moments else None
    return moved


def _open_work(stack: ChaosStack) -> int:
    connection = psycopg2.connect(stack.addresses.database_url, connect_timeout=3)
    try:
        with connection.cursor() as cursor:
            cursor.execute(OPEN_WORK)
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])
    finally:
        connection.close()


def _until(condition: object, *, seconds: float) -> None:
    """Wait for peace, and go on without it: the rules say what is missing."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.5)
