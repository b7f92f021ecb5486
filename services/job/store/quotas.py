"""Counts jobs and requests of tenants for their quotas: the tables `jobs`, `tenant_load` and `tenant_rates`."""

from common.sql import Connection, text

LOCK_TENANT_QUOTA = """
SELECT pg_advisory_xact_lock(hashtextextended('tenant ' || :tenant, 0))
"""

COUNT_QUEUED = """
SELECT count(*) FROM (SELECT FROM jobs WHERE tenant = :tenant AND state = 'queued' LIMIT :limit) AS queued
"""

COUNT_HIGH_PRIORITY = """
SELECT count(*) FROM (
    SELECT FROM jobs WHERE tenant = :tenant AND state = 'queued' AND priority = :high
    UNION ALL
    SELECT FROM jobs WHERE tenant = :tenant AND state IN ('processing', 'generating') AND priority = :high
    LIMIT :limit
) AS high
"""

MAX_IN_FLIGHT = """
SELECT max_in_flight FROM tenant_load WHERE tenant = :tenant
"""

SET_IN_FLIGHT = """
INSERT INTO tenant_load (tenant, max_in_flight) VALUES (:tenant, :limit)
ON CONFLICT (tenant) DO UPDATE SET max_in_flight = excluded.max_in_flight
"""

# The allowance refills evenly. `full_at` is the time at which it is full again: each request delays it by its share.
COUNT_REQUEST = """
INSERT INTO tenant_rates AS rate (tenant, full_at)
VALUES (:tenant, clock_timestamp() + make_interval(secs => :share))
ON CONFLICT (tenant) DO UPDATE SET full_at = greatest(rate.full_at, clock_timestamp()) + make_interval(secs => :share)
WHERE rate.full_at <= clock_timestamp() + make_interval(secs => :window - :share)
RETURNING extract(epoch FROM full_at - clock_timestamp())
"""

# In a second statement follows what is taken; until then nobody else takes of it. Time adds to what is left.
LOCK_RATE = """
INSERT INTO tenant_rates AS rate (tenant, full_at) VALUES (:tenant, clock_timestamp())
ON CONFLICT (tenant) DO UPDATE SET full_at = rate.full_at
RETURNING extract(epoch FROM full_at - clock_timestamp())
"""
COUNT_REQUESTS = """
UPDATE tenant_rates SET full_at = greatest(full_at, clock_timestamp()) + make_interval(secs => :seconds)
WHERE tenant = :tenant
RETURNING extract(epoch FROM full_at - clock_timestamp())
"""

READ = """
SELECT extract(epoch FROM full_at - clock_timestamp()) FROM tenant_rates WHERE tenant = :tenant
"""


def lock_tenant_quota(connection: Connection, tenant: str) -> None:
    """Serializes new jobs of one tenant until commit, so that each counts the ones before it."""
    connection.defer(text(LOCK_TENANT_QUOTA), {"tenant": tenant})


def set_in_flight(connection: Connection, tenant: str, *, limit: int | None) -> None:
    """Sets the tenant's limit of jobs at generators; None for no limit. Writes only a change, as a write locks."""
    if connection.execute(text(MAX_IN_FLIGHT), {"tenant": tenant}).scalar() != limit:
        connection.defer(text(SET_IN_FLIGHT), {"tenant": tenant, "limit": limit})


def queued(connection: Connection, tenant: str, *, limit: int) -> int:
    """Returns the number of queued jobs of a tenant; counting stops at `limit`."""
    return int(connection.execute(text(COUNT_QUEUED), {"tenant": tenant, "limit": limit}).scalar_one())


def of_high_priority(connection: Connection, tenant: str, *, high: int, limit: int) -> int:
    """Returns the number of jobs of priority `high` that are queued or at a generator; counting stops at `limit`."""
    named = {"tenant": tenant, "high": high, "limit": limit}
    return int(connection.execute(text(COUNT_HIGH_PRIORITY), named).scalar_one())


def count_request(connection: Connection, tenant: str, *, share: float, window: float) -> float | None:
    """Counts a request; returns the seconds until the allowance is full again, None when it is used up."""
    found = connection.execute(text(COUNT_REQUEST), {"tenant": tenant, "share": share, "window": window}).scalar()
    return None if found is None else float(found)


def lock_rate(connection: Connection, tenant: str) -> float:
    """Locks the allowance until commit; returns the seconds until it is full again, 0 or less when it is."""
    return float(connection.execute(text(LOCK_RATE), {"tenant": tenant}).scalar_one())


def count_requests(connection: Connection, tenant: str, *, seconds: float) -> float:
    """Takes `seconds` of the locked allowance, which must have them; returns the seconds until it is full again."""
    return float(connection.execute(text(COUNT_REQUESTS), {"tenant": tenant, "seconds": seconds}).scalar_one())


def full_in(connection: Connection, tenant: str) -> float:
    """Returns the seconds until the allowance is full again; 0 or less when it is."""
    return float(connection.execute(text(READ), {"tenant": tenant}).scalar() or 0.0)
