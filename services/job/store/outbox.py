"""The table `outbox`: what the relay has yet to publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.job.store import rows

LOCK_UNCLAIMED = """
SELECT id, job_id FROM outbox
WHERE claimed_until IS NULL OR claimed_until < clock_timestamp()
ORDER BY id LIMIT :most
FOR UPDATE SKIP LOCKED
"""

# Another relay may hold an earlier row of the same job; that job is left to it, so that its order holds.
JOBS_WITH_EARLIER_ROWS_ELSEWHERE = """
SELECT DISTINCT mine.job_id
FROM outbox AS mine
JOIN outbox AS earlier ON earlier.job_id = mine.job_id AND earlier.sequence < mine.sequence
WHERE mine.id = ANY(CAST(:ids AS uuid[])) AND earlier.id <> ALL(CAST(:ids AS uuid[]))
"""

CLAIM_ROWS = """
UPDATE outbox SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)
FROM job_events AS event JOIN jobs ON jobs.id = event.job_id
WHERE outbox.id = ANY(CAST(:ids AS uuid[])) AND outbox.job_id <> ALL(:left_out)
    AND event.job_id = outbox.job_id AND event.sequence = outbox.sequence
RETURNING outbox.id, outbox.job_id, outbox.sequence, outbox.wake, outbox.traceparent,
    event.type, event.state, event.occurred_at, jobs.tenant
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event to publish, and the kind of work that became due with it."""

    id: UUID
    job_id: str
    sequence: int
    wake: str | None
    traceparent: str | None


@dataclass(frozen=True, kw_only=True)
class Due(Entry):
    """An entry that this relay holds, with what its message says."""

    type: str
    state: str
    occurred_at: datetime
    tenant: str


def add(connection: Connection, entries: Sequence[Entry]) -> None:
    """Put entries on the way out."""
    rows.insert(connection, "outbox", [rows.to_json(entry) for entry in entries])


def claim(connection: Connection, *, most: int, seconds: float) -> list[Due]:
    """Hold the oldest rows for so many seconds: all that a job has, or none of that job."""
    ids = [str(row.id) for row in connection.execute(text(LOCK_UNCLAIMED), {"most": most})]
    if not ids:
        return []
    elsewhere = connection.execute(text(JOBS_WITH_EARLIER_ROWS_ELSEWHERE), {"ids": ids}).scalars().all()
    parameters = {"ids": ids, "left_out": list(elsewhere), "seconds": seconds}
    claimed = connection.execute(text(CLAIM_ROWS), parameters).mappings()
    return sorted((Due(**row) for row in claimed), key=lambda due: (due.job_id, due.sequence))


def delete(connection: Connection, ids: Sequence[UUID]) -> None:
    """Forget rows that the broker has confirmed."""
    connection.execute(
        text("DELETE FROM outbox WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": [str(one) for one in ids]}
    )


def release(connection: Connection, ids: Sequence[UUID]) -> None:
    """Let go of rows that could not be published, so that they are tried again at the next tick."""
    connection.execute(
        text("UPDATE outbox SET claimed_until = NULL WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [str(one) for one in ids]},
    )
