"""A tenant's quota while a batch of jobs is decided: each admitted job leaves less for the next one."""

from collections.abc import Collection
from typing import Self

from common.sql import Connection
from services.job.application.quotas import high_priority_full, queue_full, rate_exceeded
from services.job.domain.quotas import WINDOW, Quota, Rate, rate, wait
from services.job.domain.requests import Priority
from services.job.store import quotas

#: Seconds; the sum of the shares of a whole allowance differs from the window by rounding.
_ROUNDING = 1e-6


class BatchQuota:
    """What is left of a quota; decides as `quotas.admit_job` does for single jobs."""

    def __init__(self, quota: Quota, *, queued: int = 0, high_priority: int = 0, full_in: float = 0.0) -> None:
        self._quota = quota
        self._queued = queued
        self._high_priority = high_priority
        #: Seconds until the allowance of requests is full again.
        self._full_in = max(full_in, 0.0)
        #: Jobs that were admitted.
        self.admitted = 0

    @classmethod
    def read(cls, connection: Connection, tenant: str, quota: Quota | None, priorities: Collection[int]) -> Self:
        """Reads what is left for jobs of these priorities, without a lock; None as quota limits nothing."""
        if quota is None:
            return cls(Quota())
        per_minute = quota.requests_per_minute
        full_in = quotas.full_in(connection, tenant) if per_minute is not None else 0.0
        return cls._counted(connection, tenant, quota, priorities, full_in=full_in)

    @classmethod
    def lock(cls, connection: Connection, tenant: str, quota: Quota | None, priorities: Collection[int]) -> Self:
        """Reads what is left, and locks it until commit; None as quota limits nothing."""
        if quota is None:
            return cls(Quota())
        has_high = quota.max_high_priority is not None and Priority.HIGH in priorities
        if quota.max_queued is not None or has_high:
            quotas.lock_tenant_quota(connection, tenant)
        full_in = quotas.lock_rate(connection, tenant) if quota.requests_per_minute else 0.0
        return cls._counted(connection, tenant, quota, priorities, full_in=full_in)

    @classmethod
    def _counted(
        cls, connection: Connection, tenant: str, quota: Quota, priorities: Collection[int], *, full_in: float
    ) -> Self:
        queued, high = quota.max_queued, quota.max_high_priority if Priority.HIGH in priorities else None
        return cls(
            quota,
            queued=0 if queued is None else quotas.queued(connection, tenant, limit=queued),
            high_priority=(
                0 if high is None else quotas.of_high_priority(connection, tenant, high=Priority.HIGH, limit=high)
            ),
            full_in=full_in,
        )

    def admit(self, priority: int) -> None:
        """Takes one job of the quota. Raises `Refusal` QUOTA_EXCEEDED."""
        quota, is_high = self._quota, priority == Priority.HIGH
        if quota.max_queued is not None and self._queued >= quota.max_queued:
            raise queue_full(quota.max_queued)
        if is_high and quota.max_high_priority is not None and self._high_priority >= quota.max_high_priority:
            raise high_priority_full(quota.max_high_priority)
        if (per_minute := quota.requests_per_minute) is not None:
            if (seconds := wait(per_minute, full_in=self._full_in)) > _ROUNDING:
                raise rate_exceeded(per_minute, seconds)
            self._full_in += WINDOW / per_minute
        self._queued += 1
        self._high_priority += is_high
        self.admitted += 1

    def write(self, connection: Connection, tenant: str) -> Rate | None:
        """Counts the admitted jobs as requests; returns the tenant's rate, None without such a limit."""
        quota = self._quota
        if self.admitted:
            quotas.set_in_flight(connection, tenant, limit=quota.max_in_flight)
        if (per_minute := quota.requests_per_minute) is None:
            return None
        if per_minute < 1:
            return Rate(remaining=0, reset_seconds=WINDOW)
        if self.admitted:
            seconds = self.admitted * WINDOW / per_minute
            return rate(per_minute, full_in=quotas.count_requests(connection, tenant, seconds=seconds))
        return rate(per_minute, full_in=self._full_in)
