"""Temporal: a standalone activity per job, on the development server with its database in a file."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from tests.benchmarks.peers import work

GUARANTEES = """
At least once: an activity that is tried again repeats all steps, the provider's call too. The development server keeps
its state in SQLite, in one process; a cluster does more. No fence within an activity, no fairness between users.
"""
QUEUE = "jobs"


@activity.defn
def run_job(job: str) -> None:
    """All of a job."""
    work.generate(job)
    work.publish(job)
    work.delete(job)


@contextmanager
def submitting() -> Iterator[Callable[[str], object]]:
    """Yields a function that submits a job."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    client = asyncio.run_coroutine_threadsafe(Client.connect(work.place("TEMPORAL")), loop).result()

    def submit(job: str) -> None:
        started = client.start_activity(
            run_job, job, id=job, task_queue=QUEUE, start_to_close_timeout=timedelta(seconds=60)
        )
        asyncio.run_coroutine_threadsafe(started, loop).result()

    yield submit
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def serve() -> None:
    """Works on jobs until the process is ended."""

    async def run() -> None:
        client = await Client.connect(work.place("TEMPORAL"))
        with ThreadPoolExecutor(work.CONCURRENCY) as threads:
            worker = Worker(
                client,
                task_queue=QUEUE,
                activities=[run_job],
                activity_executor=threads,
                max_concurrent_activities=work.CONCURRENCY,
            )
            await worker.run()

    asyncio.run(run())
