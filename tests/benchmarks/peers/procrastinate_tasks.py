"""Procrastinate: three tasks, of which each defers the next, in one worker that is woken by LISTEN/NOTIFY."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from tests.benchmarks.peers import work

GUARANTEES = """
A job whose worker died stays in `doing` until a periodic task of the user's own retries it, and then calls the provider
again. Every change of a job is committed. No fence, no events for clients, no fairness between users.
"""
app = App(connector=PsycopgConnector(conninfo=work.place("DATABASE"), max_size=work.CONCURRENCY))


@app.task
def generate(job: str) -> None:
    """Calls the provider, stages the image, and defers the next task."""
    work.generate(job)
    publish.defer(job=job)


@app.task
def publish(job: str) -> None:
    """Copies the image, commits the final row, and defers the next task."""
    work.publish(job)
    delete.defer(job=job)


@app.task
def delete(job: str) -> None:
    """Deletes the staged object."""
    work.delete(job)


def prepare() -> None:
    """Creates Procrastinate's tables."""
    connector = SyncPsycopgConnector(conninfo=work.place("DATABASE"))
    with app.replace_connector(connector) as synchronous, synchronous.open():
        synchronous.schema_manager.apply_schema()


@contextmanager
def submitting() -> Iterator[Callable[[str], object]]:
    """Yields a function that submits a job."""
    connector = SyncPsycopgConnector(conninfo=work.place("DATABASE"), max_size=work.CONCURRENCY)
    with app.replace_connector(connector) as synchronous, synchronous.open():
        yield lambda job: synchronous.configure_task(generate.name).defer(job=job)


def serve() -> None:
    """Works on jobs until the process is ended."""

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(work.CONCURRENCY))
        async with app.open_async():
            await app.run_worker_async(concurrency=work.CONCURRENCY, delete_jobs="successful")

    asyncio.run(run())
