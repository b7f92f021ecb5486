"""Part (h): what the servers give at most, each asked by 16 clients at once that do nothing else.

Uploads of 64 kB into the object store, transactions of one row, messages that JetStream confirms one by one, and calls
of an empty gRPC method. No pipeline on this machine can be faster than the slowest of them allows.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import grpc
import psycopg2
from calotype import streams

from common.object_store import ObjectStore
from tests.benchmarks.instant_provider import SIDE, picture
from tests.benchmarks.results import Measurement
from tests.benchmarks.running import ROOT
from tests.support.brokers.facts import broker_at
from tests.support.servers import embedded_servers

CLIENTS = 16
ECHO = "/benchmark.Echo/Echo"


async def per_second(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Returns how often work is done in a second by all clients together."""
    numbers = iter(range(count))

    async def client() -> None:
        for _ in numbers:
            await work()

    await client_warm_up(work)
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return count / (time.perf_counter() - began)


async def client_warm_up(work: Callable[[], Awaitable[object]]) -> None:
    """Opens the connections."""
    await asyncio.gather(*(work() for _ in range(CLIENTS)))


async def uploads(folder: Path, count: int, rounds: int) -> list[float]:
    """Uploads a second."""
    with embedded_servers.storage_server(folder) as server:
        os.environ |= {
            "STORAGE_EMULATOR_HOST": server.url,
            "STORAGE_EMULATOR_TOKEN": embedded_servers.STORAGE_TOKENS["generator"],
        }
        _, staging = embedded_servers.new_buckets()
        store, image = ObjectStore(staging, threads=CLIENTS), picture(SIDE)

        def put() -> Awaitable[object]:
            return store.put(uuid4().hex, image, content_type="image/png", metadata={})

        found = [await per_second(put, count) for _ in range(rounds)]
        await store.close()
        del os.environ["STORAGE_EMULATOR_HOST"], os.environ["STORAGE_EMULATOR_TOKEN"]
        return found


def commits(folder: Path, count: int, rounds: int) -> list[float]:
    """Transactions of one inserted row a second."""

    def client(url: str, transactions: int) -> None:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            for _ in range(transactions):
                cursor.execute("INSERT INTO single_rows VALUES (%s)", (uuid4().hex,))
                connection.commit()

    with embedded_servers.postgres_server(folder) as server, ThreadPoolExecutor(CLIENTS) as threads:
        with closing(psycopg2.connect(server.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE single_rows (id text PRIMARY KEY)")
        found, each = [], count // CLIENTS
        for _ in range(rounds):
            began = time.perf_counter()
            list(threads.map(lambda _: client(server.url, each), range(CLIENTS)))
            found.append(each * CLIENTS / (time.perf_counter() - began))
        return found


async def publishes(folder: Path, count: int, rounds: int) -> list[float]:
    """Confirmed messages a second."""
    with embedded_servers.nats_server(folder) as server:
        async with broker_at(server.url) as broker:

            def publish() -> Awaitable[object]:
                return broker.publish(
                    f"{streams.FACT_GENERATION}.images_generated",
                    b"x" * 400,
                    message_id=uuid4().hex,
                    headers={"ce-type": "benchmark"},
                )

            return [await per_second(publish, count) for _ in range(rounds)]


async def echoes(count: int, rounds: int) -> list[float]:
    """Calls of an empty method a second; the server is a process of its own."""
    with echo_server() as port:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            echo = channel.unary_unary(ECHO)
            return [await per_second(lambda: echo(b"x" * 400), count) for _ in range(rounds)]


@contextmanager
def echo_server():
    """The port of a server that returns what it gets."""
    command = [sys.executable, "-P", "-m", "tests.benchmarks.ceilings"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())


async def serve_echo() -> None:
    """Serves until standard input ends."""

    async def echo(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return body

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("benchmark.Echo", {"Echo": method})])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def run(*, count: int, rounds: int) -> list[Measurement]:
    """Measures all of them."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "uploads of 64 kB": asyncio.run(uploads(Path(folder) / "storage", count, rounds)),
            "commits of one row": commits(Path(folder) / "postgres", count, rounds),
            "confirmed messages": asyncio.run(publishes(Path(folder) / "nats", count, rounds)),
            "gRPC calls": asyncio.run(echoes(count, rounds)),
        }
    return [Measurement(part="ceilings", name=name, unit="1/s", values=values) for name, values in found.items()]


if __name__ == "__main__":
    asyncio.run(serve_echo())
