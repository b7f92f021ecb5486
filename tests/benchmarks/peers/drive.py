"""Gives jobs to a peer, and prints a line of JSON for each round: rates, delays, and processor time per job.

`python -m tests.benchmarks.peers.drive MODULE JOBS ROUNDS ALONE`; with `serve` in place of numbers it is the worker.
"""

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from tests.benchmarks.peers import work
from tests.benchmarks.processes import processor_times

WARM_UP = 32
#: Seconds for all jobs of a round.
PATIENCE = 300.0
COUNT = "SELECT count(*) FROM peer_jobs WHERE id = ANY(%s) AND state = 'completed'"
FINISHED = "SELECT extract(epoch FROM finished_at) FROM peer_jobs WHERE id = %s AND finished_at IS NOT NULL"


def wait_for(jobs: Sequence[str]) -> None:
    """Waits until all jobs are completed."""
    until = time.monotonic() + PATIENCE
    while True:
        with work.pool().connection() as connection:
            [(count,)] = connection.execute(COUNT, (list(jobs),)).fetchall()
        if count == len(jobs):
            return
        assert time.monotonic() < until, f"{count} of {len(jobs)} jobs are completed"
        time.sleep(0.02)


def run_round(submit: Callable[[str], object], count: int, pids: dict[str, list[int]]) -> dict[str, object]:
    """Submits jobs by clients at once and waits for them; returns rates, and processor time per job in ms."""
    jobs = [uuid4().hex for _ in range(count)]
    before, began = processor_times(pids), time.monotonic()
    with ThreadPoolExecutor(work.CONCURRENCY) as clients:
        list(clients.map(submit, jobs))
    posted = time.monotonic() - began
    wait_for(jobs)
    taken = time.monotonic() - began
    cpu = {name: 1000 * (seconds - before[name]) / count for name, seconds in processor_times(pids).items()}
    return {"jobs_per_second": count / taken, "posts_per_second": count / posted, "cpu_ms": cpu}


def alone(submit: Callable[[str], object], count: int) -> list[float]:
    """Returns milliseconds from submission to the final row, of one job after the other."""
    taken = []
    for _ in range(count):
        job, began = uuid4().hex, time.time()
        submit(job)
        wait_for([job])
        with work.pool().connection() as connection:
            [(finished,)] = connection.execute(FINISHED, (job,)).fetchall()
        taken.append(1000 * (float(finished) - began))
    return taken


def main() -> None:
    """Drives, or serves."""
    module, rest = sys.argv[1], sys.argv[2:]
    peer = importlib.import_module(f"tests.benchmarks.peers.{module}")
    if rest == ["serve"]:
        return peer.serve()
    count, rounds, single = map(int, rest)
    work.prepare()
    getattr(peer, "prepare", lambda: None)()
    command = [sys.executable, "-P", "-m", "tests.benchmarks.peers.drive", module, "serve"]
    with subprocess.Popen(command) as worker, peer.submitting() as submit:
        pids = json.loads(os.environ["PEER_PIDS"]) | {"worker": [worker.pid]}
        if getattr(peer, "QUEUED", None) is False:
            # Its workflows run in this process.
            pids["worker"].append(os.getpid())
        try:
            run_round(submit, WARM_UP, pids)
            found = [run_round(submit, count, pids) for _ in range(rounds)]
            delays = alone(submit, single)
        finally:
            worker.terminate()
    print(json.dumps({"guarantees": " ".join(peer.GUARANTEES.split()), "rounds": found, "delays_ms": delays}))
    print(f"{module}: {statistics.median(r['jobs_per_second'] for r in found):.1f} jobs/s", file=sys.stderr)
    return None


if __name__ == "__main__":
    main()
