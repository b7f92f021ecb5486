"""The order of a job's deliveries to one endpoint, and which of them later ones supersede.

Of the deliveries of one job to one endpoint at most one is pending or being sent: the one with the lowest sequence. The
others wait. The caller holds the endpoint's row lock.
"""

from collections.abc import Collection
from uuid import UUID

from common.sql import Connection, text
from services.notifier.domain.events import ENDS, SETTLED
from services.notifier.store import rows

#: `events.supersedes` for the rows `later` and `earlier`.
SUPERSEDES = (
    "(later.event_type IN ({ends}) OR later.event_type = '{settled}' AND earlier.event_type = '{settled}')".format(
        ends=", ".join(f"'{end}'" for end in sorted(ENDS)), settled=SETTLED
    )
)

SUPERSEDE_EARLIER = f"""
UPDATE webhook_deliveries AS earlier SET state = 'superseded', due_at = NULL, ended_at = clock_timestamp()
FROM webhook_deliveries AS later
WHERE later.id = ANY(CAST(:ids AS uuid[])) AND earlier.endpoint_id = later.endpoint_id
    AND earlier.job_id = later.job_id AND earlier.sequence < later.sequence
    AND earlier.state IN ('pending', 'waiting', 'held') AND {SUPERSEDES}
"""  # noqa: S608

# The feed may contain an event after a later one of its job, which may be delivered by now.
SUPERSEDE_LATE = f"""
UPDATE webhook_deliveries AS earlier SET state = 'superseded', due_at = NULL, ended_at = clock_timestamp()
WHERE earlier.id = ANY(CAST(:ids AS uuid[])) AND earlier.state IN ('pending', 'waiting', 'held') AND EXISTS (
    SELECT FROM webhook_deliveries AS later
    WHERE later.endpoint_id = earlier.endpoint_id AND later.job_id = earlier.job_id
        AND later.sequence > earlier.sequence AND {SUPERSEDES})
"""  # noqa: S608

SUPERSEDE_UNDELIVERED = SUPERSEDE_LATE.replace(
    "AND later.sequence > earlier.sequence",
    "AND later.sequence > earlier.sequence AND later.state IN ('pending', 'waiting', 'sending', 'held')",
)

IS_SUPERSEDED = f"""
SELECT EXISTS (
    SELECT FROM webhook_deliveries AS earlier
    JOIN webhook_deliveries AS later ON later.endpoint_id = earlier.endpoint_id AND later.job_id = earlier.job_id
    WHERE earlier.id = :id AND later.sequence > earlier.sequence
        AND later.state IN ('pending', 'waiting', 'sending', 'held') AND {SUPERSEDES})
"""  # noqa: S608

# An earlier event that is delivered again goes first.
DEMOTE_LATER = """
UPDATE webhook_deliveries AS delivery SET state = 'waiting', due_at = NULL
FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:job_ids AS text[])) AS line (endpoint_id, job_id)
WHERE delivery.endpoint_id = line.endpoint_id AND delivery.job_id = line.job_id AND delivery.state = 'pending'
    AND EXISTS (
        SELECT FROM webhook_deliveries AS earlier
        WHERE earlier.endpoint_id = line.endpoint_id AND earlier.job_id = line.job_id
            AND earlier.sequence < delivery.sequence AND earlier.state = 'waiting')
"""

PROMOTE_FIRST = """
UPDATE webhook_deliveries AS delivery SET state = 'pending', due_at = now()
FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:job_ids AS text[])) AS line (endpoint_id, job_id)
CROSS JOIN LATERAL (
    SELECT id FROM webhook_deliveries
    WHERE endpoint_id = line.endpoint_id AND job_id = line.job_id AND state = 'waiting'
    ORDER BY sequence LIMIT 1) AS first
WHERE delivery.id = first.id AND NOT EXISTS (
    SELECT FROM webhook_deliveries AS current
    WHERE current.endpoint_id = line.endpoint_id AND current.job_id = line.job_id
        AND current.state IN ('pending', 'sending'))
"""


def supersede_around(connection: Connection, inserted: Collection[UUID]) -> None:
    """Supersedes what new deliveries make unnecessary, and new ones that a later event has made unnecessary before."""
    for statement in (SUPERSEDE_EARLIER, SUPERSEDE_LATE):
        connection.execute(text(statement), {"ids": rows.ids(sorted(inserted))})


def supersede(connection: Connection, delivery_ids: Collection[UUID]) -> None:
    """Supersedes those deliveries for which a later, undelivered event has come."""
    connection.execute(text(SUPERSEDE_UNDELIVERED), {"ids": rows.ids(sorted(delivery_ids))})


def is_superseded(connection: Connection, delivery_id: UUID) -> bool:
    """Returns whether a later, undelivered event makes a delivery unnecessary."""
    superseded: bool = connection.execute(text(IS_SUPERSEDED), {"id": delivery_id}).scalar_one()
    return superseded


def arrange(connection: Connection, lines: Collection[tuple[UUID, str]]) -> None:
    """Makes the first undelivered event of each (endpoint, job) pending, unless one is being sent."""
    if lines:
        connection.execute(text(DEMOTE_LATER), _parameters(lines))
        promote(connection, lines)


def promote(connection: Connection, lines: Collection[tuple[UUID, str]]) -> None:
    """Makes the first waiting event of each (endpoint, job) pending, after the one before has ended."""
    if lines:
        connection.execute(text(PROMOTE_FIRST), _parameters(lines))


def _parameters(lines: Collection[tuple[UUID, str]]) -> dict[str, list[str]]:
    ordered = sorted(lines)
    return {"endpoint_ids": rows.ids([line[0] for line in ordered]), "job_ids": [line[1] for line in ordered]}
