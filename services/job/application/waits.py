"""Finds out why a job waits."""

from dataclasses import replace

from common.sql import Connection
from services.job.domain.jobs import Job
from services.job.domain.wait_reasons import Wait, WaitReason
from services.job.domain.waits import lost, waiting
from services.job.store import jobs, provider_usage, wait_facts


def wait_of(connection: Connection, job: Job) -> Wait | None:
    """Returns why a job waits; None for a final job, and for one that a worker holds."""
    if job.is_final:
        return None
    if job.lease is not None:
        return lost(job, now=jobs.clock(connection))
    wait = waiting(job, wait_facts.read(connection, job))
    if wait.reason is WaitReason.PROVIDER_RATE:
        frees_at = provider_usage.next_free_at(connection, wait.provider, limit=wait.limit)
        return replace(wait, next_try_at=frees_at)
    return wait
