"""Celery with Redis: a chain of three tasks, acknowledged late, worked on by prefork processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery import Celery, chain

from tests.benchmarks.peers import work

GUARANTEES = """
At least once: a task that is delivered again after its visibility timeout calls the provider again. Redis writes its
log before it responds. No fence against a second worker, no idempotency, no events, no fairness between users.
"""
app = Celery("peer", broker=work.place("REDIS"), backend=work.place("REDIS"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def generate(job: str) -> str:
    """Calls the provider and stages the image."""
    work.generate(job)
    return job


@app.task
def publish(job: str) -> str:
    """Copies the image and commits the final row."""
    work.publish(job)
    return job


@app.task
def delete(job: str) -> None:
    """Deletes the staged object."""
    work.delete(job)


@contextmanager
def submitting() -> Iterator[Callable[[str], object]]:
    """Yields a function that submits a job."""
    yield lambda job: chain(generate.s(job), publish.s(), delete.s()).apply_async()


def serve() -> None:
    """Works on jobs until the process is ended."""
    options = ["--concurrency", str(work.CONCURRENCY), "--loglevel", "warning", "--without-mingle", "--without-gossip"]
    app.worker_main(["worker", *options])
