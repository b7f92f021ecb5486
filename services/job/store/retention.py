"""Finds and deletes rows whose retention has ended, a few at a time."""

from common.sql import Connection, text

# A job with an open call is settled first: otherwise the call's cost would be lost.
LOCK_JOBS_OVER_FOR = """
SELECT id FROM jobs
WHERE completed_at < clock_timestamp() - make_interval(secs => :seconds) AND deleted_at IS NULL
    AND NOT EXISTS (
        SELECT FROM provider_calls AS call WHERE call.job_id = jobs.id AND call.phase IN ('intended', 'accepted'))
ORDER BY completed_at LIMIT :limit
FOR UPDATE SKIP LOCKED
"""

FORGET_KEYS = """
DELETE FROM idempotency_keys WHERE (tenant, scope, key) IN (
    SELECT tenant, scope, key FROM idempotency_keys
    WHERE created_at < clock_timestamp() - make_interval(secs => :seconds)
    ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED)
"""

# Attempts and events are deleted with the job; its calls stay in the ledger. A key's replay needs no tombstone.
FORGET_TOMBSTONES = """
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs
    WHERE deleted_at < clock_timestamp() - make_interval(secs => :seconds)
        AND NOT EXISTS (SELECT FROM deletions WHERE deletions.job_id = jobs.id)
        AND NOT EXISTS (SELECT FROM outbox WHERE outbox.job_id = jobs.id)
    ORDER BY deleted_at LIMIT :limit
    FOR UPDATE SKIP LOCKED)
"""


def lock_jobs_over_for(connection: Connection, *, seconds: float, limit: int) -> list[str]:
    """Locks the oldest jobs that have been final for `seconds` and are not locked; returns their ids."""
    found = connection.execute(text(LOCK_JOBS_OVER_FOR), {"seconds": seconds, "limit": limit})
    return list(found.scalars())


def forget_keys(connection: Connection, *, seconds: float, limit: int) -> int:
    """Deletes up to `limit` idempotency keys older than `seconds`; returns the number."""
    return connection.execute(text(FORGET_KEYS), {"seconds": seconds, "limit": limit}).rowcount


def forget_tombstones(connection: Connection, *, seconds: float, limit: int) -> int:
    """Deletes up to `limit` rows of jobs that were deleted `seconds` ago or earlier; returns the number."""
    return connection.execute(text(FORGET_TOMBSTONES), {"seconds": seconds, "limit": limit}).rowcount
