"""The table `outbox`: events and wake-ups that the relay has yet to publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.sql import Connection, text

#: Rows of one job that are published together; a job with more does not delay others.
MAX_ROWS_PER_JOB = 16

# A relay holds a job by the job's first row: it alone may publish the job's rows. The recursion goes from job to job,
# however many rows each has, and ends as soon as enough jobs are locked.
HOLD_JOBS = """
WITH RECURSIVE first AS (
    (SELECT id, job_id FROM outbox WHERE job_id > :after ORDER BY job_id, sequence LIMIT 1)
    UNION ALL
    SELECT later.id, later.job_id
    FROM first CROSS JOIN LATERAL (
        SELECT id, job_id FROM outbox WHERE outbox.job_id > first.job_id
        ORDER BY outbox.job_id, outbox.sequence LIMIT 1) AS later
),
free AS MATERIALIZED (
    SELECT locked.id FROM first CROSS JOIN LATERAL (
        SELECT id FROM outbox
        WHERE outbox.id = first.id AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
        FOR UPDATE SKIP LOCKED) AS locked
    LIMIT :limit
)
UPDATE outbox SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)
WHERE id = ANY(ARRAY(SELECT id FROM free))
RETURNING job_id
"""

# In a second statement: it sees the rows that were committed before the jobs were held.
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

# A row that was released meanwhile stays free, and locked rows are skipped.
RENEW = """
UPDATE outbox SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)
WHERE id IN (
    SELECT id FROM outbox WHERE id = ANY(CAST(:ids AS uuid[])) AND claimed_until IS NOT NULL
    FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, kw_only=True)
class OutboxMessage:
    """An event to publish, with its wake-up."""

    #: Id of the message.
    id: UUID
    #: Job of the event.
    job_id: str
    #: `Job.sequence` of the event.
    sequence: int
    #: Kind of work that became due: `generate`, `upload`, `settle` or `delete`; None for none.
    wake: str | None
    #: W3C trace context of the job; None without tracing.
    traceparent: str | None


@dataclass(frozen=True, kw_only=True)
class Due(OutboxMessage):
    """A row that this relay holds, with the contents of its message."""

    #: A `Transition` value.
    type: str
    #: State of the job after the transition.
    state: str
    #: Time of the transition.
    occurred_at: datetime
    #: Tenant of the job.
    tenant: str


def to_row(message: OutboxMessage) -> dict[str, Any]:
    """Returns the columns of a row."""
    return {
        "id": str(message.id),
        "job_id": message.job_id,
        "sequence": message.sequence,
        "wake": message.wake,
        "traceparent": message.traceparent,
    }


def claim(connection: Connection, *, after: str = "", limit: int, seconds: float) -> list[Due]:
    """Holds up to `limit` jobs after an id for `seconds`; returns their first rows in order of job id and sequence."""
    held = connection.execute(text(HOLD_JOBS), {"after": after, "limit": limit, "seconds": seconds}).scalars().all()
    if not held:
        return []
    parameters = {"job_ids": held, "rows_per_job": MAX_ROWS_PER_JOB}
    found = connection.execute(text(ROWS_OF_JOBS), parameters).mappings()
    return [Due(**row) for row in found]


def renew(connection: Connection, ids: Sequence[UUID], *, seconds: float) -> None:
    """Holds jobs, by the ids of their first rows, for `seconds` from now."""
    connection.defer(text(RENEW), {"ids": [str(id_) for id_ in ids], "seconds": seconds})


def delete(connection: Connection, ids: Sequence[UUID]) -> None:
    """Deletes rows that the broker has confirmed."""
    connection.execute(
        text("DELETE FROM outbox WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": [str(id_) for id_ in ids]}
    )


def release(connection: Connection, ids: Sequence[UUID]) -> None:
    """Releases jobs by the ids of their first rows, so that the next run publishes what this one could not."""
    connection.execute(
        text("UPDATE outbox SET claimed_until = NULL WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [str(id_) for id_ in ids]},
    )
