"""What tracing costs: processor time of all services per job, with tracing off and at full sampling.

`python -m tests.benchmarks.tracing [JOBS] [ROUNDS]` starts a stack of each, gives jobs to one after the other in each
round, and prints the medians. Jobs are small, so that the share of tracing is the largest: real images cost more
processor time, and as many spans. On a busy machine few jobs and many rounds are best.
"""

import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import psutil

from cli.stack.state import StackState
from tests.benchmarks.running import bearer, stack
from tests.support.servers.otlp_collector import collector

SERVICES = ("gateway", "job", "generator", "uploader", "notifier")
#: Share of processor time per job that tracing may add.
AT_MOST = 0.10
#: Jobs under way at a time, and seconds for all of them.
AT_ONCE, PATIENCE = 4, 600.0
_BUSY = (429, 503)
#: Only spans are measured.
NO_METRICS = {"OTEL_METRICS_EXPORTER": "none"}


def processor_seconds(running: StackState) -> float:
    """Processor time of the services so far, their child processes included."""
    processes = [psutil.Process(pid) for name in SERVICES for pid in running.pids.get(name, [])]
    everything = [*processes, *(child for process in processes for child in process.children(recursive=True))]
    return sum(times.user + times.system for times in (process.cpu_times() for process in everything))


def run_jobs(client: httpx.Client, count: int) -> None:
    """Submits jobs and waits until each is completed."""

    def run(number: int) -> None:
        body = {"prompt": f"a lighthouse {number}", "size": "64x64"}
        until = time.monotonic() + PATIENCE
        # A busy machine sheds load.
        while (response := client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})).status_code in _BUSY:
            assert time.monotonic() < until, response.text
            time.sleep(1)
        job = response.raise_for_status().json()
        while job["status"] not in ("completed", "failed"):
            assert time.monotonic() < until, job["status"]
            time.sleep(0.2)
            if (response := client.get(f"/v1/jobs/{job['id']}")).status_code not in _BUSY:
                job = response.raise_for_status().json()
        assert job["status"] == "completed", job["error"]

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(run, range(count)))


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of OpenTelemetry for the processes that are started meanwhile; there are no others then."""
    before = {name: os.environ.pop(name) for name in tuple(os.environ) if name.startswith("OTEL_")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)


class Measured:
    """A stack with these variables, whose services' processor time is measured."""

    def __init__(self, opened: ExitStack, values: Mapping[str, str]) -> None:
        with variables(values):
            self._running, _ = opened.enter_context(stack())
        headers = bearer(self._running)
        self._client = opened.enter_context(httpx.Client(base_url=self._running.http, headers=headers, timeout=90))
        run_jobs(self._client, AT_ONCE * 2)

    def seconds_per_job(self, jobs: int) -> float:
        """Processor seconds of the services per job."""
        before = processor_seconds(self._running)
        run_jobs(self._client, jobs)
        # The last spans are sent two seconds later.
        time.sleep(2.5)
        return (processor_seconds(self._running) - before) / jobs


def main() -> int:
    """Measures, prints, and returns 1 when tracing costs too much."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    off, full = [], []
    with collector() as found, ExitStack() as opened:
        without = Measured(opened, {"OTEL_SDK_DISABLED": "true"})
        traced = Measured(opened, {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url} | NO_METRICS)
        for number in range(rounds):
            off.append(without.seconds_per_job(jobs))
            full.append(traced.seconds_per_job(jobs))
            print(f"round {number + 1}: off {off[-1] * 1000:.1f} ms, full {full[-1] * 1000:.1f} ms per job", flush=True)
        violations = found.violations
    middle = statistics.median(off), statistics.median(full)
    print(f"medians: off {middle[0] * 1000:.1f} ms, full {middle[1] * 1000:.1f} ms per job")
    added = middle[1] / middle[0] - 1
    print(f"tracing at full sampling adds {added:.1%} of processor time per job; at most {AT_MOST:.0%} is wanted")
    assert not violations, violations
    return int(added > AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
