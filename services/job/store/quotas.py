"""What tenants have and ask, counted against their quotas: `jobs`, `tenant_load` and `tenant_rates`."""

from sqlalchemy import Connection, text

ONE_AT_A_TIME = """
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

# The allowance fills up evenly. `full_at` is when it will be full again: each request moves it by its share.
TAKE_ONE = """
INSERT INTO tenant_rates AS rate (tenant, full_at)
VALUES (:tenant, clock_timestamp() + make_interval(secs => :share))
ON CONFLICT (tenant) DO UPDATE SET full_at = greatest(rate.full_at, clock_timestamp()) + make_interval(secs => :share)
WHERE rate.full_at <= clock_timestamp() + make_interval(secs => :window - :share)
RETURNING extract(epoch FROM full_at - clock_timestamp())
"""

READ = """
SELECT extract(epoch FROM full_at - clock_timestamp()) FROM tenant_rates WHERE tenant = :tenant
"""


def lock_tenant_quota(connection: Connection, tenant: str) -> None:
    """Let jobs of a bounded tenant be written one after the other, each counted by the next; until commit."""
    connection.execute(text(ONE_AT_A_TIME), {"tenant": tenant})


def set_in_flight(connection: Connection, tenant: str, *, limit: int | None) -> None:
    """Bound how many jobs of a tenant are claimed at once. Only a change is written: a row that is, is locked."""
    if connection.execute(text(MAX_IN_FLIGHT), {"tenant": tenant}).scalar() != limit:
        connection.execute(text(SET_IN_FLIGHT), {"tenant": tenant, "limit": limit})


def queued(connection: Connection, tenant: str, *, limit: int) -> int:
    """Jobs of a tenant that wait, counted no further than to `limit`."""
    return int(connection.execute(text(COUNT_QUEUED), {"tenant": tenant, "limit": limit}).scalar_one())


def of_high_priority(connection: Connection, tenant: str, *, high: int, limit: int) -> int:
    """Jobs of a tenant that wait or are at a generator with that priority, counted no further than to `limit`."""
    named = {"tenant": tenant, "high": high, "limit": limit}
    return int(connection.execute(text(COUNT_HIGH_PRIORITY), named).scalar_one())


def take_one(connection: Connection, tenant: str, *, share: float, window: float) -> float | None:
    """Count a request; returns seconds until the allowance is full again, None when it is used up."""
    found = connection.execute(text(TAKE_ONE), {"tenant": tenant, "share": share, "window": window}).scalar()
    return None if found is None else float(found)


def full_in(connection: Connection, tenant: str) -> float:
    """Seconds until the allowance is full again."""
    return float(connection.execute(text(READ), {"tenant": tenant}).scalar() or 0.0)
