"""Deletes rows whose retention has ended, and those of deleted endpoints, a few at a time."""

from common.sql import Connection, text
from services.notifier.store import rows

#: Days for which ended and held deliveries, and idempotency keys, are kept.
RETENTION_DAYS = 30

FORGET_DELIVERIES = f"""
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE ended_at < now() - interval '{RETENTION_DAYS} days'
    ORDER BY ended_at LIMIT :limit FOR UPDATE SKIP LOCKED)
"""  # noqa: S608

FORGET_REQUESTS = f"""
DELETE FROM webhook_requests WHERE (tenant, method, key) IN (
    SELECT tenant, method, key FROM webhook_requests WHERE created_at < now() - interval '{RETENTION_DAYS} days'
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
"""  # noqa: S608

FORGET_SECRETS = """
DELETE FROM webhook_secrets WHERE id IN (
    SELECT id FROM webhook_secrets WHERE expires_at < now() ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)
"""

# In turn, by their age at the last look: an origin that is used looks new again.
LOCK_OLD_ORIGINS = f"""
SELECT id FROM webhook_endpoints
WHERE kind = 'callback' AND deleted_at IS NULL AND created_at < now() - interval '{RETENTION_DAYS} days'
ORDER BY created_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
"""  # noqa: S608

# In a second statement: it sees the deliveries of the transactions that held the locks before.
FORGET_UNUSED = """
UPDATE webhook_endpoints AS endpoint SET
    created_at = now(),
    deleted_at = CASE WHEN NOT old.is_used THEN now() END,
    ready_at = CASE WHEN old.is_used THEN ready_at END
FROM (
    SELECT id, EXISTS (SELECT FROM webhook_deliveries WHERE endpoint_id = origin.id) AS is_used
    FROM unnest(CAST(:ids AS uuid[])) AS origin (id)) AS old
WHERE endpoint.id = old.id
"""

LOCK_DELETED = """
SELECT id FROM webhook_endpoints WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 20 FOR UPDATE SKIP LOCKED
"""

DELETE_DELIVERIES = """
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE endpoint_id = ANY(CAST(:ids AS uuid[])) LIMIT :limit)
"""

DELETE_ENDPOINTS = "DELETE FROM webhook_endpoints WHERE id = ANY(CAST(:ids AS uuid[]))"


def forget_deliveries(connection: Connection, *, limit: int) -> int:
    """Deletes up to `limit` deliveries that ended, or are held, for `RETENTION_DAYS`; returns their number."""
    return connection.execute(text(FORGET_DELIVERIES), {"limit": limit}).rowcount


def forget_requests(connection: Connection, *, limit: int) -> int:
    """Deletes up to `limit` idempotency keys older than `RETENTION_DAYS`; returns their number."""
    return connection.execute(text(FORGET_REQUESTS), {"limit": limit}).rowcount


def forget_secrets(connection: Connection, *, limit: int) -> int:
    """Deletes up to `limit` secrets that sign no more; returns their number."""
    return connection.execute(text(FORGET_SECRETS), {"limit": limit}).rowcount


def forget_origins(connection: Connection, *, limit: int) -> int:
    """Looks at up to `limit` old origins of callback URLs, and deletes those without deliveries; returns their number.

    The creation time of an origin means nothing else.
    """
    old = rows.ids(list(connection.execute(text(LOCK_OLD_ORIGINS), {"limit": limit}).scalars()))
    return connection.execute(text(FORGET_UNUSED), {"ids": old}).rowcount if old else 0


def delete_batch(connection: Connection, *, limit: int) -> int:
    """Deletes up to `limit` deliveries of deleted endpoints, then the endpoints; returns the number of rows."""
    found = rows.ids(list(connection.execute(text(LOCK_DELETED)).scalars()))
    if not found:
        return 0
    deleted = connection.execute(text(DELETE_DELIVERIES), {"ids": found, "limit": limit}).rowcount
    if deleted < limit:
        deleted += connection.execute(text(DELETE_ENDPOINTS), {"ids": found}).rowcount
    return deleted
