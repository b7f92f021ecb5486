"""What hanging receivers cost the others: rate and delay of healthy endpoints, with and without a fifth that hang.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.webhooks --rounds 3`

Each round measures both, in turn first. First a job ends each second; then many end at once, and everything that the
healthy endpoints are to get is awaited. A delay is from the event until its request was read.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import psycopg2

from cli.stack.state import StackState
from tests.benchmarks.running import bearer, stack, suspended
from tests.support.patience import pause
from tests.support.servers.tcp_servers import tcp_server

ENDPOINTS, HANGING = 50, 10
HEALTHY = ENDPOINTS - HANGING
#: Seconds of a job that ends each second, jobs that end at once, and seconds that these may take.
PACED_SECONDS, BURST, LONGEST = 20, 60, 300.0
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
IN_FLIGHT = "SELECT count(*) FROM webhook_deliveries WHERE state = 'sending'"


@dataclass
class Receivers:
    """What healthy receivers got: when, and how long after its event; where both kinds listen."""

    healthy: str = ""
    hanging: str = ""
    arrivals: list[tuple[float, float]] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and accept it."""
        body = await _request(reader)
        now = time.time()
        event = json.loads(body)
        self.arrivals.append((now, now - datetime.fromisoformat(event["timestamp"]).timestamp()))
        writer.write(OK)
        await writer.drain()
        async with self.arrived:
            self.arrived.notify_all()

    async def hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, and do nothing until the other side goes."""
        await _request(reader)
        await reader.read()

    async def wait(self, count: int) -> None:
        """Wait until so many have arrived."""
        async with asyncio.timeout(LONGEST), self.arrived:
            await self.arrived.wait_for(lambda: len(self.arrivals) >= count)


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    return await reader.readexactly(int(lengths[0].partition(b": ")[2]))


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """Receivers on this machine."""
    found = Receivers()
    async with tcp_server(found.accept) as healthy, tcp_server(found.hang) as hanging:
        found.healthy, found.hanging = f"http://127.0.0.1:{healthy}", f"http://127.0.0.1:{hanging}"
        yield found


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Deliveries to healthy endpoints in a second, and their delays in milliseconds while a job ends each second."""

    rate: float
    median_ms: float
    p99_ms: float


class Benchmark:
    """Measures at a running stack."""

    def __init__(self, stack: StackState, http: httpx.AsyncClient, receivers: Receivers) -> None:
        self._stack = stack
        self._http = http
        self._receivers = receivers
        self._hanging: list[str] = []

    async def subscribe(self) -> None:
        """Create all endpoints; those that hang are disabled."""
        for number in range(HEALTHY):
            await self._create(f"{self._receivers.healthy}/{number}")
        self._hanging = [await self._create(f"{self._receivers.hanging}/{number}") for number in range(HANGING)]
        await self.let_hang(False)

    async def let_hang(self, hangs: bool) -> None:
        """Enable those that hang, or disable them and wait until nothing is sent to them any more."""
        for webhook_id in self._hanging:
            (await self._http.patch(f"/v1/webhooks/{webhook_id}", json={"enabled": hangs})).raise_for_status()
        while not hangs and await asyncio.to_thread(self._in_flight):
            await pause()

    async def measure(self) -> Measured:
        """One job that ends each second, then many at once."""
        paced = await self._submit(PACED_SECONDS)
        self._receivers.arrivals.clear()
        for job_id in paced:
            await asyncio.gather(self._cancel(job_id), asyncio.sleep(1))
        await self._receivers.wait(HEALTHY * PACED_SECONDS)
        delays = sorted(delay for _, delay in self._receivers.arrivals)
        burst = await self._submit(BURST)
        self._receivers.arrivals.clear()
        await asyncio.gather(*map(self._cancel, burst))
        await self._receivers.wait(HEALTHY * BURST)
        times = [at for at, _ in self._receivers.arrivals]
        return Measured(
            rate=len(times) / (max(times) - min(times)),
            median_ms=statistics.median(delays) * 1000,
            p99_ms=delays[int(len(delays) * 0.99)] * 1000,
        )

    async def _create(self, url: str) -> str:
        created = (await self._http.post("/v1/webhooks", json={"url": url})).raise_for_status()
        found: str = created.json()["id"]
        return found

    async def _submit(self, count: int) -> list[str]:
        """Jobs that nobody takes up."""
        answers = [await self._http.post("/v1/jobs", json={"prompt": f"ends {number}"}) for number in range(count)]
        return [answer.raise_for_status().json()["id"] for answer in answers]

    async def _cancel(self, job_id: str) -> None:
        while (answer := await self._http.post(f"/v1/jobs/{job_id}/cancel")).status_code == 503:
            await pause()
        answer.raise_for_status()

    def _in_flight(self) -> int:
        opened = psycopg2.connect(self._stack.notifier_database_url)
        with closing(opened) as connection, connection.cursor() as cursor:
            cursor.execute(IN_FLIGHT)
            return int(cursor.fetchone()[0])


async def run(stack: StackState, rounds: int) -> dict[bool, list[Measured]]:
    """What was measured, without and with those that hang."""
    found: dict[bool, list[Measured]] = {False: [], True: []}
    limits = httpx.Timeout(60)
    async with (
        receivers() as listening,
        httpx.AsyncClient(base_url=stack.http, headers=bearer(stack), trust_env=False, timeout=limits) as http,
    ):
        benchmark = Benchmark(stack, http, listening)
        await benchmark.subscribe()
        # Endpoints are new until their first success.
        await benchmark.measure()
        for number in range(rounds):
            for hangs in (False, True) if number % 2 == 0 else (True, False):
                await benchmark.let_hang(hangs)
                found[hangs].append(measured := await benchmark.measure())
                print(_line(hangs, [measured]), flush=True)
        await benchmark.let_hang(False)
    return found


def _line(hangs: bool, measured: Sequence[Measured]) -> str:
    median = {
        name: statistics.median(getattr(one, name) for one in measured) for name in ("rate", "median_ms", "p99_ms")
    }
    who = f"{HEALTHY} endpoints, {HANGING if hangs else 'none'} that hang"
    delay = f"{median['median_ms']:.0f} ms (median), {median['p99_ms']:.0f} ms (99th percentile)"
    return f"{who}: {median['rate']:.0f} a second; delay {delay}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.environ |= {"CALOTYPE_WEBHOOK_ALLOW_PRIVATE": "true", "CALOTYPE_WEBHOOKS_PER_TENANT": str(ENDPOINTS)}
    # Nothing ends but what the benchmark cancels.
    with stack() as (running, _), suspended(running, "generator"):
        print(f"load of the machine before: {os.getloadavg()[0]:.1f}", flush=True)
        found = asyncio.run(run(running, rounds))
    print("medians:", *(_line(hangs, found[hangs]) for hangs in (False, True)), sep="\n")
    rates, p99s = (
        [statistics.median(getattr(one, name) for one in found[hangs]) for hangs in (False, True)]
        for name in ("rate", "p99_ms")
    )
    print(f"with those that hang: {rates[1] / rates[0]:.0%} of the rate, {p99s[1] / p99s[0]:.2f} times the delay")


if __name__ == "__main__":
    main()
