"""A tenant's quotas: counted by job-service across all gateways, and reported in response headers.

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
#: Name of the quota policy, and its window in seconds.
_NAME, _WINDOW = "requests", 60


def quota_of(principal: Principal) -> job_service_pb2.TenantQuota:
    """Returns the quotas of the principal's tenant, for a call in which job-service counts the request itself."""
    limits = principal.limits
    return job_service_pb2.TenantQuota(
        max_in_flight=limits.max_in_flight,
        max_queued=limits.max_queued,
        max_high_priority=limits.max_high_priority,
        requests_per_minute=limits.requests_per_minute,
    )


async def count_request(jobs: JobServiceClient, principal: Principal, scope: Scope) -> None:
    """Counts a request that job-service does not count itself. Raises `Problem` QUOTA_EXCEEDED."""
    per_minute = principal.limits.requests_per_minute
    if per_minute is not None:
        try:
            note_rate(scope, await jobs.count_request(principal.tenant, per_minute))
        except Problem as problem:
            note_refusal(scope, problem)
            raise


def note_rate(scope: Scope, rate: job_service_pb2.RequestRate) -> None:
    """Stores the tenant's remaining requests for the response headers."""
    scope[_SCOPE] = (rate.remaining, rate.reset_seconds)


def note_refusal(scope: Scope, problem: Problem) -> None:
    """Stores that no request remains if the request rate is the cause of the problem."""
    if problem.metadata.get("quota") == "requests_per_minute":
        scope[_SCOPE] = (0, problem.retry_after_seconds or 1.0)


def add_headers(headers: MutableHeaders, *, scope: Scope, principal: Principal | None) -> None:
    """Adds RateLimit-Policy and, if the request was counted, RateLimit; nothing for a tenant without such a limit."""
    if principal is None or (limit := principal.limits.requests_per_minute) is None:
        return
    headers["RateLimit-Policy"] = f'"{_NAME}";q={limit};w={_WINDOW}'
    if _SCOPE in scope:
        remaining, seconds = scope[_SCOPE]
        headers["RateLimit"] = f'"{_NAME}";r={remaining};t={math.ceil(seconds)}'
