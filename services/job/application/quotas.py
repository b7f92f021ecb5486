"""Let in what a tenant's quota has room for. Asked after the key: a replay takes nothing."""

from collections.abc import Mapping

from sqlalchemy import Connection

from services.job.domain.quotas import FULL_SECONDS, WINDOW, Quota, Rate, rate, wait
from services.job.domain.refusals import Refusal
from services.job.domain.requests import Priority
from services.job.store import quotas


def admit_job(connection: Connection, tenant: str, quota: Quota | None, *, priority: int) -> Rate | None:
    """Make sure that there is room for one more job. Raises `Refusal` QUOTA_EXCEEDED.

    Without a quota nothing is asked and nothing changed: what bounds the tenant's claims stays as it is.
    """
    if quota is None:
        return None
    if quota.max_queued is not None or (quota.max_high_priority is not None and priority == Priority.HIGH):
        quotas.lock_tenant_quota(connection, tenant)
    _refuse_if_full(connection, tenant, quota, priority=priority)
    quotas.set_in_flight(connection, tenant, most=quota.max_in_flight)
    return take_request(connection, tenant, quota.requests_per_minute)


def precheck_quota(connection: Connection, tenant: str, quota: Quota | None, *, priority: int) -> None:
    """Refuse what would be refused by now, and take nothing: asked before work that would be in vain.

    Nobody is waited for, so that only `admit_job` tells for sure. Raises `Refusal` QUOTA_EXCEEDED.
    """
    if quota is None:
        return
    _refuse_if_full(connection, tenant, quota, priority=priority)
    per_minute = quota.requests_per_minute
    if per_minute is not None and (seconds := wait(per_minute, full_in=quotas.full_in(connection, tenant))) > 0:
        raise _used_up(per_minute, seconds)


def take_request(connection: Connection, tenant: str, per_minute: int | None) -> Rate | None:
    """Count one request of a tenant. Raises `Refusal` QUOTA_EXCEEDED."""
    if per_minute is None:
        return None
    full_in = quotas.take_one(connection, tenant, share=WINDOW / per_minute, window=WINDOW) if per_minute else None
    if full_in is None:
        raise _used_up(per_minute, wait(per_minute, full_in=quotas.full_in(connection, tenant)))
    return rate(per_minute, full_in=full_in)


def _refuse_if_full(connection: Connection, tenant: str, quota: Quota, *, priority: int) -> None:
    queued, high = quota.max_queued, quota.max_high_priority if priority == Priority.HIGH else None
    if queued is not None and quotas.queued(connection, tenant, most=queued) >= queued:
        raise _full("max_queued", f"{queued} jobs wait already, which is as many as may.")
    if high is not None and quotas.of_high_priority(connection, tenant, high=priority, most=high) >= high:
        raise _full("max_high_priority", f"{high} jobs of high priority are under way, which is as many as may.")


def _used_up(per_minute: int, seconds: float) -> Refusal:
    message = f"{per_minute} requests a minute are allowed, and are used up."
    return Refusal(
        "QUOTA_EXCEEDED", message, metadata=_of("requests_per_minute"), retry_after_seconds=max(seconds, 0.001)
    )


def _full(name: str, message: str) -> Refusal:
    return Refusal("QUOTA_EXCEEDED", message, metadata=_of(name), retry_after_seconds=FULL_SECONDS)


def _of(name: str) -> Mapping[str, str]:
    return {"quota": name}
