"""Tracks whether job-service is ready."""

from collections.abc import Mapping

from common.errors import ServiceError
from common.health import Readiness
from gateway.job_service.job_client import JobServiceClient

NAME = "job-service"


async def check(jobs: JobServiceClient, ready: Readiness) -> Mapping[str, int]:
    """Checks job-service once and updates the condition in `ready`."""
    try:
        serves = await jobs.serves()
    except ServiceError as error:
        ready.set(NAME, False, f"does not respond ({error.status.name}: {error.message})")
    else:
        ready.set(NAME, serves, "responds, but is not ready")
    return {}
