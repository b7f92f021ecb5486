"""Enforces tenants' quotas, after the idempotency key: a replay counts against none."""

from collections.abc import Mapping

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.domain.quotas import FULL_SECONDS, WINDOW, Quota, Rate, rate, wait
from services.job.domain.refusals import Refusal
from services.job.domain.requests import Priority
from services.job.store import quotas


def admit_job(connection: Connection, tenant: str, quota: Quota | None, *, priority: int) -> Rate | None:
    """Checks that the quota allows one more job, and counts the request; returns the tenant's rate.

    None as quota checks and changes nothing, so that the stored limit of jobs at generators stays.
    Raises `Refusal` QUOTA_EXCEEDED.
    """
    if quota is None:
        return None
    if quota.max_queued is not None or (quota.max_high_priority is not None and priority == Priority.HIGH):
        quotas.lock_tenant_quota(connection, tenant)
    _refuse_if_full(connection, tenant, quota, priority=priority)
    quotas.set_in_flight(connection, tenant, limit=quota.max_in_flight)
    return count_request(connection, tenant, quota.requests_per_minute)


def precheck_quota(connection: Connection, tenant: str, quota: Quota | None, *, priority: int) -> None:
    """Checks the quota without counting the request, before work that a refusal would waste.

    It takes no lock, so that only `admit_job` decides. Raises `Refusal` QUOTA_EXCEEDED.
    """
    if quota is None:
        return
    _refuse_if_full(connection, tenant, quota, priority=priority)
    per_minute = quota.requests_per_minute
    if per_minute is not None and (seconds := wait(per_minute, full_in=quotas.full_in(connection, tenant))) > 0:
        raise rate_exceeded(per_minute, seconds)


def count_request(connection: Connection, tenant: str, per_minute: int | None) -> Rate | None:
    """Counts one request of a tenant; returns its rate, None without a limit. Raises `Refusal` QUOTA_EXCEEDED."""
    if per_minute is None:
        return None
    full_in = quotas.count_request(connection, tenant, share=WINDOW / per_minute, window=WINDOW) if per_minute else None
    if full_in is None:
        raise rate_exceeded(per_minute, wait(per_minute, full_in=quotas.full_in(connection, tenant)))
    return rate(per_minute, full_in=full_in)


def _refuse_if_full(connection: Connection, tenant: str, quota: Quota, *, priority: int) -> None:
    queued, high = quota.max_queued, quota.max_high_priority if priority == Priority.HIGH else None
    if queued is not None and quotas.queued(connection, tenant, limit=queued) >= queued:
        raise queue_full(queued)
    if high is not None and quotas.of_high_priority(connection, tenant, high=priority, limit=high) >= high:
        raise high_priority_full(high)


def queue_full(limit: int) -> Refusal:
    """Builds the refusal of a job beyond `max_queued`."""
    return _full("max_queued", f"The tenant's limit of {limit} queued jobs is reached.")


def high_priority_full(limit: int) -> Refusal:
    """Builds the refusal of a job beyond `max_high_priority`."""
    return _full("max_high_priority", f"The tenant's limit of {limit} unfinished high-priority jobs is reached.")


def rate_exceeded(per_minute: int, seconds: float) -> Refusal:
    """Builds the refusal of a request beyond `requests_per_minute`; it may be repeated after `seconds`."""
    message = f"The tenant's limit of {per_minute} requests a minute is reached."
    return Refusal(
        Reason.QUOTA_EXCEEDED, message, metadata=_named("requests_per_minute"), retry_after_seconds=max(seconds, 0.001)
    )


def _full(name: str, message: str) -> Refusal:
    return Refusal(Reason.QUOTA_EXCEEDED, message, metadata=_named(name), retry_after_seconds=FULL_SECONDS)


def _named(quota: str) -> Mapping[str, str]:
    return {"quota": quota}
