"""`webhook_endpoints.ready_at`: when a claim may take one of an endpoint's deliveries.

Whoever changes deliveries of an endpoint holds its row lock, and refreshes `ready_at` before the commit. So claims read
the endpoints that are ready, and nothing of those that are not. Several endpoints are locked in the order of their ids.
"""

from collections.abc import Collection
from uuid import UUID

from common.sql import Connection, text
from services.notifier.domain.endpoints import IN_FLIGHT, SLOW_IN_FLIGHT, SlotShare
from services.notifier.store import rows

#: Deliveries of the endpoint `endpoint` that may be attempted at the same time (`endpoints.in_flight_limit`).
IN_FLIGHT_LIMIT = f"""
CASE WHEN endpoint.openings > 0 THEN 1 WHEN endpoint.is_slow THEN {SLOW_IN_FLIGHT} ELSE {IN_FLIGHT} END
"""

LOCK_ENDPOINTS = """
SELECT id FROM webhook_endpoints WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE
"""

# An endpoint that was served comes after those that became ready before: a backlog delays no other endpoint.
REFRESH_READY = f"""
UPDATE webhook_endpoints AS endpoint SET ready_at = CASE
    WHEN endpoint.disabled_reason IS NULL AND endpoint.deleted_at IS NULL AND work.due_at IS NOT NULL
        AND work.in_flight < {IN_FLIGHT_LIMIT}
    THEN greatest(work.due_at, endpoint.blocked_until, endpoint.rate_until, endpoint.served_at)
END
FROM unnest(CAST(:ids AS uuid[])) AS changed (id)
CROSS JOIN LATERAL (
    SELECT
        (SELECT due_at FROM webhook_deliveries
            WHERE endpoint_id = changed.id AND state = 'pending' ORDER BY due_at, id LIMIT 1) AS due_at,
        (SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = changed.id AND state = 'sending') AS in_flight
) AS work
WHERE endpoint.id = changed.id
"""  # noqa: S608

OLDEST_READY = """
SELECT share.name, extract(epoch FROM clock_timestamp() - first.ready_at) AS seconds
FROM unnest(CAST(:shares AS text[])) AS share (name)
LEFT JOIN LATERAL (
    SELECT ready_at FROM webhook_endpoints
    WHERE webhook_endpoints.share = share.name AND ready_at IS NOT NULL ORDER BY ready_at LIMIT 1
) AS first ON true
"""


def lock(connection: Connection, endpoint_ids: Collection[UUID]) -> list[UUID]:
    """Locks endpoints, in the order of their ids; returns the ids of those that exist."""
    found = connection.execute(text(LOCK_ENDPOINTS), {"ids": rows.ids(sorted(endpoint_ids))})
    return list(found.scalars())


def refresh(connection: Connection, endpoint_ids: Collection[UUID]) -> None:
    """Computes `ready_at` of endpoints that this transaction has locked."""
    if endpoint_ids:
        connection.execute(text(REFRESH_READY), {"ids": rows.ids(sorted(endpoint_ids))})


def oldest_ready(connection: Connection) -> dict[SlotShare, float]:
    """Returns the seconds for which the endpoint that waits longest has been ready, by share; 0 for none."""
    found = connection.execute(text(OLDEST_READY), {"shares": [share.value for share in SlotShare]})
    return {SlotShare(row.name): max(float(row.seconds or 0.0), 0.0) for row in found}
