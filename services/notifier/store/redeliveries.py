"""Makes ended deliveries due again: one, or the held and failed ones of a time range, a batch at a time."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.ids import new_uuid7
from common.sql import Connection, text
from services.notifier.store import job_order, readiness, rows
from services.notifier.store.fan_out import CALLBACK_DAYS

#: Deliveries at which counting a range stops.
MAX_COUNTED = 100_000

REDELIVER = f"""
UPDATE webhook_deliveries SET
    state = CASE WHEN job_id IS NULL THEN 'pending' ELSE 'waiting' END,
    due_at = CASE WHEN job_id IS NULL THEN now() END,
    attempt_count = 0, ended_at = NULL,
    expires_at = CASE WHEN url IS NOT NULL THEN clock_timestamp() + interval '{CALLBACK_DAYS} days' END
WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('delivered', 'superseded', 'failed', 'held')
RETURNING id, endpoint_id, job_id
"""  # noqa: S608

# A later event of the job may have come after the delivery had failed.
IN_RANGE = f"""
SELECT id, created_at FROM webhook_deliveries AS earlier
WHERE endpoint_id = :endpoint_id AND state IN ('held', 'failed')
    AND (created_at, id) > (:position_at, CAST(:position AS uuid)) AND created_at < :created_before
    AND NOT EXISTS (
        SELECT FROM webhook_deliveries AS later
        WHERE later.endpoint_id = earlier.endpoint_id AND later.job_id = earlier.job_id
            AND later.sequence > earlier.sequence AND {job_order.SUPERSEDES})
ORDER BY created_at, id LIMIT :limit
"""  # noqa: S608

ADD = """
INSERT INTO webhook_redeliveries (id, endpoint_id, created_after, created_before)
VALUES (:id, :endpoint_id, :created_after, :created_before)
"""

NEXT = "SELECT id, endpoint_id FROM webhook_redeliveries WHERE id > :after ORDER BY id LIMIT 1"

LOCK_ENDPOINT = """
SELECT disabled_reason IS NULL AND deleted_at IS NULL FROM webhook_endpoints WHERE id = :id FOR UPDATE
"""

LOCK = "SELECT * FROM webhook_redeliveries WHERE id = :id FOR UPDATE"

MOVE = "UPDATE webhook_redeliveries SET position_at = :position_at, position = :position WHERE id = :id"

FIRST_ID = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class Range:
    """Deliveries of an endpoint by their creation times."""

    #: Endpoint.
    endpoint_id: UUID
    #: Inclusive lower bound.
    created_after: datetime
    #: Exclusive upper bound.
    created_before: datetime


def redeliver(connection: Connection, delivery_ids: list[UUID]) -> int:
    """Makes ended deliveries of locked endpoints due now, with all their attempts; returns their number."""
    changed = connection.execute(text(REDELIVER), {"ids": rows.ids(delivery_ids)}).all()
    job_order.arrange(connection, {(row.endpoint_id, row.job_id) for row in changed if row.job_id is not None})
    readiness.refresh(connection, {row.endpoint_id for row in changed})
    return len(changed)


def count(connection: Connection, wanted: Range) -> int:
    """Returns the number of deliveries in a range that can be redelivered, up to `MAX_COUNTED`."""
    statement = text(f"SELECT count(*) FROM ({IN_RANGE}) AS found")  # noqa: S608 - constants
    number: int = connection.execute(statement, _parameters(wanted, limit=MAX_COUNTED)).scalar_one()
    return number


def add(connection: Connection, wanted: Range) -> None:
    """Inserts a range to work off."""
    parameters = {
        "id": new_uuid7(),
        "endpoint_id": wanted.endpoint_id,
        "created_after": wanted.created_after,
        "created_before": wanted.created_before,
    }
    connection.execute(text(ADD), parameters)


def count_ranges(connection: Connection, endpoint_id: UUID) -> int:
    """Returns the number of ranges of an endpoint that are not worked off yet."""
    statement = text("SELECT count(*) FROM webhook_redeliveries WHERE endpoint_id = :endpoint_id")
    number: int = connection.execute(statement, {"endpoint_id": endpoint_id}).scalar_one()
    return number


def next_range(connection: Connection, *, after: UUID | None) -> tuple[UUID, UUID] | None:
    """Returns ids of the next range after an id and of its endpoint; None at the end."""
    row = connection.execute(text(NEXT), {"after": after or FIRST_ID}).first()
    return None if row is None else (row.id, row.endpoint_id)


def work_off(connection: Connection, range_id: UUID, endpoint_id: UUID, *, limit: int) -> int:
    """Redelivers the next batch of a range; returns its size.

    The range is deleted when it is done, and when its endpoint was disabled meanwhile.
    """
    is_enabled = connection.execute(text(LOCK_ENDPOINT), {"id": endpoint_id}).scalar()
    row = connection.execute(text(LOCK), {"id": range_id}).mappings().first()
    if row is None:
        return 0
    wanted = Range(endpoint_id=endpoint_id, created_after=row["created_after"], created_before=row["created_before"])
    parameters = _parameters(wanted, limit=limit, position_at=row["position_at"], position=row["position"])
    batch = connection.execute(text(IN_RANGE), parameters).all() if is_enabled else []
    if len(batch) < limit:
        connection.execute(text("DELETE FROM webhook_redeliveries WHERE id = :id"), {"id": range_id})
    else:
        last = batch[-1]
        connection.execute(text(MOVE), {"id": range_id, "position_at": last.created_at, "position": last.id})
    return redeliver(connection, [found.id for found in batch]) if batch else 0


def _parameters(
    wanted: Range, *, limit: int, position_at: datetime | None = None, position: UUID | None = None
) -> dict[str, object]:
    return {
        "endpoint_id": wanted.endpoint_id,
        "created_before": wanted.created_before,
        "position_at": position_at or wanted.created_after,
        "position": position or FIRST_ID,
        "limit": limit,
    }
