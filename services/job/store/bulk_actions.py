"""The table `bulk_actions`: what operators do with all jobs of a filter, and how far it is."""

from common.sql import Connection, Row, text
from services.job.domain.bulk_actions import (
    BulkAction,
    BulkActionRequest,
    BulkActionState,
    MatchCount,
    RefusedJobs,
)
from services.job.store import rows

LOCK_CREATION = """
SELECT pg_advisory_xact_lock(hashtextextended('bulk action', 0))
"""

COUNT_RUNNING = """
SELECT count(*) FROM bulk_actions WHERE state = 'running'
"""

ADD = """
INSERT INTO bulk_actions (id, request, requested_by, state, matched, is_exact, done, skipped, refused, created_at,
    due_at)
SELECT :id, CAST(:request AS jsonb), :by, 'running', 0, false, 0, 0, '{}', now, now FROM clock_timestamp() AS now
RETURNING *
"""

SET_MATCHED = """
UPDATE bulk_actions SET matched = :matched, is_exact = :is_exact WHERE id = :id RETURNING *
"""

NEWEST = """
SELECT * FROM bulk_actions ORDER BY created_at DESC, id DESC LIMIT :limit
"""

# The one that has waited longest, so that all advance in turn.
CLAIM = """
UPDATE bulk_actions SET due_at = clock_timestamp() + make_interval(secs => :seconds)
WHERE id = (
    SELECT id FROM bulk_actions WHERE state = 'running' AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""

LOCK_RUNNING = """
SELECT * FROM bulk_actions WHERE id = :id AND state = 'running' FOR UPDATE
"""

# Only after LOCK_RUNNING in the same transaction.
SAVE = """
UPDATE bulk_actions SET done = :done, skipped = :skipped, refused = CAST(:refused AS jsonb),
    reached_created_at = :reached_created_at, reached_id = :reached_id, due_at = clock_timestamp(),
    state = CASE WHEN :is_over THEN 'finished' ELSE state END,
    finished_at = CASE WHEN :is_over THEN clock_timestamp() END
WHERE id = :id
RETURNING *
"""

CANCEL = """
UPDATE bulk_actions SET state = 'canceled', finished_at = clock_timestamp() WHERE id = :id AND state = 'running'
"""

FORGET = """
DELETE FROM bulk_actions WHERE id IN (
    SELECT id FROM bulk_actions
    WHERE created_at < clock_timestamp() - make_interval(secs => :seconds) AND state <> 'running'
    ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED)
"""


def lock_creation(connection: Connection) -> None:
    """Serializes creations until commit: two that count at once could both be the last that is allowed."""
    connection.defer(text(LOCK_CREATION))


def count_running(connection: Connection) -> int:
    """Returns the number of running bulk actions."""
    running: int = connection.execute(text(COUNT_RUNNING)).scalar_one()
    return running


def add(connection: Connection, bulk_id: str, request: BulkActionRequest, *, by: str) -> BulkAction:
    """Inserts a running bulk action, without its number of jobs; returns it."""
    values = {"id": bulk_id, "request": rows.as_json(rows.to_json(request)), "by": by}
    return _from_row(connection.execute(text(ADD), values).mappings().one())


def set_matched(connection: Connection, bulk_id: str, count: MatchCount) -> BulkAction:
    """Sets the number of jobs that matched; returns the bulk action."""
    values = {"id": bulk_id, "matched": count.matched, "is_exact": count.is_exact}
    return _from_row(connection.execute(text(SET_MATCHED), values).mappings().one())


def get(connection: Connection, bulk_id: str) -> BulkAction | None:
    """Returns a bulk action; None if there is none."""
    row = connection.execute(text("SELECT * FROM bulk_actions WHERE id = :id"), {"id": bulk_id}).mappings().first()
    return _from_row(row) if row else None


def newest(connection: Connection, *, limit: int) -> list[BulkAction]:
    """Returns up to `limit` bulk actions, newest first."""
    return [_from_row(row) for row in connection.execute(text(NEWEST), {"limit": limit}).mappings()]


def claim(connection: Connection, *, seconds: float) -> str | None:
    """Claims the next due bulk action for `seconds`; returns its id, None when none is due."""
    claimed: str | None = connection.execute(text(CLAIM), {"seconds": seconds}).scalar()
    return claimed


def lock_running(connection: Connection, bulk_id: str) -> BulkAction | None:
    """Locks a bulk action; returns None if it is over."""
    row = connection.execute(text(LOCK_RUNNING), {"id": bulk_id}).mappings().first()
    return _from_row(row) if row else None


def save(connection: Connection, changed: BulkAction, *, is_over: bool) -> BulkAction:
    """Writes the progress of a locked bulk action, which is due again at once, or over; returns it."""
    reached = changed.reached or (None, None)
    values = {
        "id": changed.id,
        "done": changed.done,
        "skipped": changed.skipped,
        "refused": rows.as_json({reason: rows.to_json(jobs) for reason, jobs in changed.refused.items()}),
        "reached_created_at": reached[0],
        "reached_id": reached[1],
        "is_over": is_over,
    }
    return _from_row(connection.execute(text(SAVE), values).mappings().one())


def cancel(connection: Connection, bulk_id: str) -> bool:
    """Ends a running bulk action, after the page that is in progress; returns whether it was running."""
    return bool(connection.execute(text(CANCEL), {"id": bulk_id}).rowcount)


def forget(connection: Connection, *, seconds: float, limit: int) -> int:
    """Deletes up to `limit` bulk actions that are over and older than `seconds`; returns the number."""
    return connection.execute(text(FORGET), {"seconds": seconds, "limit": limit}).rowcount


def _from_row(row: Row) -> BulkAction:
    reached = row["reached_created_at"]
    return BulkAction(
        id=row["id"],
        request=rows.from_json(BulkActionRequest, row["request"]),
        requested_by=row["requested_by"],
        state=BulkActionState(row["state"]),
        matched=row["matched"],
        is_exact=row["is_exact"],
        reached=None if reached is None else (reached, row["reached_id"]),
        done=row["done"],
        skipped=row["skipped"],
        refused={reason: rows.from_json(RefusedJobs, jobs) for reason, jobs in row["refused"].items()},
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
