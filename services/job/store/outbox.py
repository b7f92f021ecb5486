"""The table `outbox`: what the relay has yet to publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.store import rows

#: Rows of one job that are published at once; a job that has more does not keep others waiting.
MAX_ROWS_PER_JOB = 16

# A job is held by its first row: whoever holds that one may publish the later ones too, and nobody else may. The walk
# goes from job to job, however many rows each has, and ends as soon as it has locked enough of them.
LOCK_FIRST_ROWS = """
WITH RECURSIVE first AS (
    (SELECT id, job_id FROM outbox WHERE job_id > :after ORDER BY job_id, sequence LIMIT 1)
    UNION ALL
    SELECT later.id, later.job_id
    FROM first CROSS JOIN LATERAL (
        SELECT id, job_id FROM outbox WHERE outbox.job_id > first.job_id
        ORDER BY outbox.job_id, outbox.sequence LIMIT 1) AS later
)
SELECT free.id, free.job_id
FROM first CROSS JOIN LATERAL (
    SELECT id, job_id FROM outbox
    WHERE outbox.id = first.id AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    FOR UPDATE SKIP LOCKED) AS free
LIMIT :limit
"""

HOLD = """
UPDATE outbox SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)
WHERE id = ANY(CAST(:ids AS uuid[]))
"""

ROWS_OF_JOBS = """
SELECT entry.id, entry.job_id, entry.sequence, entry.wake, entry.traceparent,
    event.type, event.state, event.occurred_at, jobs.tenant
FROM unnest(CAST(:job_ids AS text[])) AS held (job_id)
CROSS JOIN LATERAL (
    SELECT * FROM outbox WHERE outbox.job_id = held.job_id ORDER BY outbox.sequence LIMIT :rows_per_job) AS entry
JOIN job_events AS event ON event.job_id = entry.job_id AND event.sequence = entry.sequence
JOIN jobs ON jobs.id = entry.job_id
ORDER BY entry.job_id, entry.sequence
"""

# One that is let go of meanwhile stays free, and nobody is waited for.
RENEW = """
UPDATE outbox SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)
WHERE id IN (
    SELECT id FROM outbox WHERE id = ANY(CAST(:ids AS uuid[])) AND claimed_until IS NOT NULL
    FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, kw_only=True)
class OutboxMessage:
    """An event to publish, and the kind of work that became due with it."""

    id: UUID
    job_id: str
    sequence: int
    wake: str | None
    traceparent: str | None


@dataclass(frozen=True, kw_only=True)
class Due(OutboxMessage):
    """An entry that this relay holds, with what its message says."""

    type: str
    state: str
    occurred_at: datetime
    tenant: str


def add(connection: Connection, entries: Sequence[OutboxMessage]) -> None:
    """Put entries on the way out."""
    rows.insert(connection, "outbox", [rows.to_json(entry) for entry in entries])


def claim(connection: Connection, *, after: str = "", limit: int, seconds: float) -> list[Due]:
    """Hold so many jobs behind one for so many seconds, in the order of their ids; their first rows, in order."""
    firsts = connection.execute(text(LOCK_FIRST_ROWS), {"after": after, "limit": limit}).all()
    if not firsts:
        return []
    connection.execute(text(HOLD), {"ids": [str(row.id) for row in firsts], "seconds": seconds})
    asked = {"job_ids": [row.job_id for row in firsts], "rows_per_job": MAX_ROWS_PER_JOB}
    found = connection.execute(text(ROWS_OF_JOBS), asked).mappings()
    return [Due(**row) for row in found]


def renew(connection: Connection, ids: Sequence[UUID], *, seconds: float) -> None:
    """Hold jobs for so many seconds from now on, by their first rows."""
    connection.execute(text(RENEW), {"ids": [str(one) for one in ids], "seconds": seconds})


def delete(connection: Connection, ids: Sequence[UUID]) -> None:
    """Forget rows that the broker has confirmed."""
    connection.execute(
        text("DELETE FROM outbox WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": [str(one) for one in ids]}
    )


def release(connection: Connection, ids: Sequence[UUID]) -> None:
    """Let go of jobs by their first rows, so that what could not be published is tried again at the next tick."""
    connection.execute(
        text("UPDATE outbox SET claimed_until = NULL WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [str(one) for one in ids]},
    )
