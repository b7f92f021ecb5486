"""Counts of deliveries that are not delivered and of unhealthy endpoints, each bounded, by indexes."""

from dataclasses import dataclass

from common.sql import Connection, text

#: Rows that are counted of one kind.
MAX_COUNTED = 10_000

# Only a disabled endpoint has held deliveries; all rows of an endpoint's state are together in the index.
COUNT = """
WITH pending AS (
    SELECT due_at FROM webhook_deliveries WHERE state = 'pending' LIMIT :limit
), disabled AS (
    SELECT id FROM webhook_endpoints
    WHERE deleted_at IS NULL AND (disabled_reason IS NOT NULL OR openings > 0) AND disabled_reason IS NOT NULL
    LIMIT :limit
), held AS (
    SELECT FROM disabled CROSS JOIN LATERAL (
        SELECT FROM webhook_deliveries WHERE endpoint_id = disabled.id AND state = 'held' LIMIT :limit) AS first
    LIMIT :limit
)
SELECT count(*) FILTER (WHERE due_at <= now()) AS due, count(*) FILTER (WHERE due_at > now()) AS later,
    (SELECT count(*) FROM (
        SELECT FROM webhook_deliveries WHERE state = 'sending' LIMIT :limit) AS sending) AS sending,
    (SELECT count(*) FROM held) AS held
FROM pending
"""

COUNT_UNHEALTHY = """
SELECT coalesce(disabled_reason, 'degraded') AS reason, count(*) AS endpoints FROM (
    SELECT disabled_reason FROM webhook_endpoints
    WHERE deleted_at IS NULL AND (disabled_reason IS NOT NULL OR openings > 0) LIMIT :limit
) AS unhealthy GROUP BY reason
"""
REASONS = ("degraded", "by_tenant", "gone", "failing")


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What is not delivered, and where little is; each count has a bound."""

    #: Deliveries by state: `due`, `later`, `sending`, `held`.
    deliveries: dict[str, int]
    #: Endpoints and origins of callback URLs by reason, all of `REASONS`.
    unhealthy: dict[str, int]


def read(connection: Connection, *, limit: int = MAX_COUNTED) -> Backlog:
    """Returns the counts, each at most `limit`."""
    bound = {"limit": limit}
    deliveries = dict(connection.execute(text(COUNT), bound).mappings().one())
    found = {row.reason: row.endpoints for row in connection.execute(text(COUNT_UNHEALTHY), bound)}
    return Backlog(deliveries=deliveries, unhealthy={reason: found.get(reason, 0) for reason in REASONS})
