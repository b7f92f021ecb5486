"""Finds what was kept for long enough, a few rows at a time."""

from sqlalchemy import Connection, text

# A job whose call is still open is settled first: its cost would be booked for nobody.
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

# What its key needs of a deleted job is its absence; its attempts and events go with it, its calls stay in the ledger.
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
    """Lock the oldest jobs that have been final for so long, and that nobody else is changing."""
    found = connection.execute(text(LOCK_JOBS_OVER_FOR), {"seconds": seconds, "limit": limit})
    return list(found.scalars())


def forget_keys(connection: Connection, *, seconds: float, limit: int) -> int:
    """Delete idempotency keys older than that; how many."""
    return connection.execute(text(FORGET_KEYS), {"seconds": seconds, "limit": limit}).rowcount


def forget_tombstones(connection: Connection, *, seconds: float, limit: int) -> int:
    """Delete the rows of jobs that were deleted so long ago; how many."""
    return connection.execute(text(FORGET_TOMBSTONES), {"seconds": seconds, "limit": limit}).rowcount
