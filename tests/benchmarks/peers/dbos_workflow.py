"""DBOS: one workflow of three steps; started by the process that submits it, or through a queue (`PEER_QUEUED=1`)."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dbos import DBOS, DBOSClient, SetWorkflowID

from tests.benchmarks.peers import work

GUARANTEES = """
Steps that ended are not repeated; one that was interrupted calls the provider again. Recovery begins when the executor
of the same id starts again. No fence within a step, no events for clients, no fairness between users.
"""
#: Seconds between two polls of the queue; one second without this setting.
POLL_SECONDS = 0.02
QUEUE = "jobs"
#: The workflow started directly uses threads of this process, as many as it has clients.
QUEUED = os.environ.get("PEER_QUEUED") == "1"


@DBOS.step()
def generate(job: str) -> None:
    """Calls the provider and stages the image."""
    work.generate(job)


@DBOS.step()
def publish(job: str) -> None:
    """Copies the image and commits the final row."""
    work.publish(job)


@DBOS.step()
def delete(job: str) -> None:
    """Deletes the staged object."""
    work.delete(job)


@DBOS.workflow()
def run_job(job: str) -> None:
    """All of a job."""
    generate(job)
    publish(job)
    delete(job)


def launch() -> None:
    """Launches DBOS in this process."""
    DBOS(
        config={
            "name": "peer",
            "system_database_url": work.place("DATABASE"),
            "log_level": "WARNING",
            "max_executor_threads": work.CONCURRENCY,
            "application_version": "1",
        }
    )
    DBOS.launch()


def prepare() -> None:
    """Creates the tables of DBOS."""
    launch()
    DBOS.destroy()


@contextmanager
def submitting() -> Iterator[Callable[[str], object]]:
    """Yields a function that submits a job."""
    if QUEUED:
        client = DBOSClient(system_database_url=work.place("DATABASE"), application_name="peer")
        options = {"queue_name": QUEUE, "workflow_name": run_job.__qualname__, "app_version": "1"}
        yield lambda job: client.enqueue(options | {"workflow_id": job}, job)
        client.destroy()
        return
    launch()

    def start(job: str) -> None:
        with SetWorkflowID(job):
            DBOS.start_workflow(run_job, job)

    yield start
    DBOS.destroy()


def serve() -> None:
    """Works on queued jobs until the process is ended; directly started ones need no worker."""
    if QUEUED:
        launch()
        DBOS.register_queue(QUEUE, worker_concurrency=work.CONCURRENCY, polling_interval_sec=POLL_SECONDS)
    threading.Event().wait()
