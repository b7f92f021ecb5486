"""Ends deliveries that are not attempted any more: of disabled endpoints, and of callback URLs after their time."""

from uuid import UUID

from common.sql import Connection, text
from services.notifier.store import job_order, readiness, rows

LOCK_HOLDING = """
SELECT id FROM webhook_endpoints WHERE is_holding ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""

LOCK_ONE_HOLDING = "SELECT id FROM webhook_endpoints WHERE is_holding AND id = :id FOR UPDATE"

HOLD = """
UPDATE webhook_deliveries SET state = 'held', due_at = NULL, ended_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM webhook_deliveries
    WHERE endpoint_id = :endpoint_id AND state IN ('pending', 'waiting') LIMIT :limit)
"""

EXPIRED = """
SELECT id, endpoint_id FROM webhook_deliveries
WHERE expires_at <= now() AND state IN ('pending', 'waiting') ORDER BY expires_at LIMIT :limit
"""

FAIL_EXPIRED = """
UPDATE webhook_deliveries SET state = 'failed', due_at = NULL, ended_at = clock_timestamp()
WHERE id = ANY(CAST(:ids AS uuid[])) AND expires_at <= now() AND state IN ('pending', 'waiting')
RETURNING endpoint_id, job_id
"""


def hold(connection: Connection, *, limit: int, endpoint_id: UUID | None = None) -> int | None:
    """Holds up to `limit` deliveries of a disabled endpoint: of this one, or of any for None; returns their number.

    None if there is none with deliveries to hold: once fewer than `limit` are left, an endpoint is found no more.
    """
    statement = LOCK_HOLDING if endpoint_id is None else LOCK_ONE_HOLDING
    parameters = {} if endpoint_id is None else {"id": endpoint_id}
    found = connection.execute(text(statement), parameters).scalar()
    if found is None:
        return None
    held = connection.execute(text(HOLD), {"endpoint_id": found, "limit": limit}).rowcount
    if held < limit:
        connection.execute(text("UPDATE webhook_endpoints SET is_holding = false WHERE id = :id"), {"id": found})
    return held


def fail_expired(connection: Connection, *, limit: int) -> int:
    """Fails up to `limit` deliveries to callback URLs whose time is over; returns their number."""
    found = connection.execute(text(EXPIRED), {"limit": limit}).all()
    if not found:
        return 0
    readiness.lock(connection, {row.endpoint_id for row in found})
    failed = connection.execute(text(FAIL_EXPIRED), {"ids": rows.ids([row.id for row in found])}).all()
    job_order.arrange(connection, {(row.endpoint_id, row.job_id) for row in failed})
    readiness.refresh(connection, {row.endpoint_id for row in failed})
    return len(failed)
