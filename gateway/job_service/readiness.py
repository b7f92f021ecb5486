"""Follows whether job-service can do its work."""

from collections.abc import Mapping

from common.errors import ServiceError
from common.health import Readiness
from gateway.job_service.job_client import JobServiceClient

NAME = "job-service"


async def look(jobs: JobServiceClient, ready: Readiness) -> Mapping[str, int]:
    """Ask once."""
    try:
        serves = await jobs.serves()
    except ServiceError as error:
        ready.set(NAME, False, f"does not answer ({error.status.name})")
    else:
        ready.set(NAME, serves, "is not ready itself")
    return {}
