"""What a tenant may have and ask, as its keys file says: counted by job-service, over all gateways; told in headers.

The headers are those of the IETF draft "RateLimit header fields for HTTP".
"""

import math

from calotype.job.v1 import job_service_pb2
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from gateway.auth.keyring import Principal
from gateway.job_service.job_client import JobServiceClient
from gateway.problems.problem import Problem

_SCOPE = "calotype.rate"
#: What the policy is called, and its window in seconds.
_NAME, _WINDOW = "requests", 60


def quota_of(principal: Principal) -> job_service_pb2.TenantQuota:
    """The bounds of the caller's tenant, for a request that job-service counts itself."""
    limits = principal.limits
    return job_service_pb2.TenantQuota(
        max_in_flight=limits.max_in_flight,
        max_queued=limits.max_queued,
        max_high_priority=limits.max_high_priority,
        requests_per_minute=limits.requests_per_minute,
    )


async def take_request(jobs: JobServiceClient, principal: Principal, scope: Scope) -> None:
    """Count a request that job-service does not count itself. Raises `Problem` QUOTA_EXCEEDED."""
    per_minute = principal.limits.requests_per_minute
    if per_minute is not None:
        try:
            note(scope, await jobs.take_request(principal.tenant, per_minute))
        except Problem as problem:
            note_refusal(scope, problem)
            raise


def note(scope: Scope, rate: job_service_pb2.RequestRate) -> None:
    """Remember how the tenant stands, for the headers of the answer."""
    scope[_SCOPE] = (rate.remaining, rate.reset_seconds)


def note_refusal(scope: Scope, problem: Problem) -> None:
    """Remember that no request is left, if that is why it was refused."""
    if problem.metadata.get("quota") == "requests_per_minute":
        scope[_SCOPE] = (0, problem.retry_after_seconds or 1.0)


def mark(headers: MutableHeaders, *, scope: Scope, principal: Principal | None) -> None:
    """Say what the tenant may ask and what is left of it."""
    if principal is None or (most := principal.limits.requests_per_minute) is None:
        return
    headers["RateLimit-Policy"] = f'"{_NAME}";q={most};w={_WINDOW}'
    if _SCOPE in scope:
        remaining, seconds = scope[_SCOPE]
        headers["RateLimit"] = f'"{_NAME}";r={remaining};t={math.ceil(seconds)}'
