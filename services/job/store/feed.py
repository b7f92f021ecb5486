"""The feed of final events: an event gets its position after its commit, so that readers never miss one.

`job_events.feed_time` is the position: not before the event occurred, unique, and later than all earlier positions. So
an event that was written long ago and is committed now comes last. Readers assign the positions, one reader at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from common.sql import Connection, Row, text
from services.job.domain.final_events import FinalEvent, FinalEventReference
from services.job.domain.jobs import Snapshot
from services.job.domain.requests import JobRequest
from services.job.store import rows
from services.job.store.events import FINAL_EVENT_TYPES

#: Events that get their positions at once.
MAX_POSITIONED = 1_000

LOCK_FEED = "SELECT last_time FROM final_event_feed FOR UPDATE SKIP LOCKED"

# Events that another transaction has locked are skipped, and get a later position.
POSITION_COMMITTED_EVENTS = f"""
WITH pending AS (
    SELECT job_id, sequence, occurred_at FROM job_events
    WHERE feed_time IS NULL AND type IN {FINAL_EVENT_TYPES}
    ORDER BY occurred_at, job_id, sequence LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY occurred_at, job_id, sequence) AS number FROM pending
), positioned AS (
    UPDATE job_events AS event
    SET feed_time = greatest(numbered.occurred_at, feed.last_time) + numbered.number * interval '1 microsecond'
    FROM numbered, final_event_feed AS feed
    WHERE event.job_id = numbered.job_id AND event.sequence = numbered.sequence
    RETURNING event.feed_time
), newest AS (
    SELECT max(feed_time) AS feed_time, count(*) AS events FROM positioned
)
UPDATE final_event_feed SET last_time = newest.feed_time FROM newest WHERE newest.events > 0
RETURNING newest.events
"""  # noqa: S608

# `job.settled` events of jobs that are not final are left out.
FINAL_EVENTS = f"""
SELECT snapshot, feed_time FROM job_events
WHERE feed_time > :position AND occurred_at > :since AND state IN {rows.FINAL_STATES}
ORDER BY feed_time LIMIT :limit
"""  # noqa: S608

# Events that an older job-service wrote have no URL of their own.
_REFERENCE = """
event.job_id, jobs.tenant, event.sequence, event.type, event.occurred_at,
coalesce(event.callback_url, jobs.request ->> 'callback_url') AS callback_url
"""
REFERENCES = f"""
SELECT {_REFERENCE}, event.feed_time
FROM job_events AS event JOIN jobs ON jobs.id = event.job_id
WHERE event.feed_time > :position AND event.occurred_at > :since AND event.state IN {rows.FINAL_STATES}
ORDER BY event.feed_time LIMIT :limit
"""  # noqa: S608
EVENTS_BY_KEY = f"""
SELECT {_REFERENCE}, event.snapshot, jobs.request
FROM unnest(CAST(:job_ids AS text[]), CAST(:sequences AS bigint[])) AS key (job_id, sequence)
JOIN job_events AS event ON event.job_id = key.job_id AND event.sequence = key.sequence
JOIN jobs ON jobs.id = event.job_id
WHERE event.type IN {FINAL_EVENT_TYPES} AND event.state IN {rows.FINAL_STATES}
"""  # noqa: S608


def extend(connection: Connection) -> int:
    """Assigns positions to the oldest events without one; returns their number.

    Does nothing while another transaction does it.
    """
    if connection.execute(text(LOCK_FEED)).first() is None:
        return 0
    return connection.execute(text(POSITION_COMMITTED_EVENTS), {"limit": MAX_POSITIONED}).scalar() or 0


def after(
    connection: Connection, position: datetime, *, since: datetime, limit: int
) -> list[tuple[Snapshot, datetime]]:
    """Returns the next events after a position that occurred after `since`, each with its position."""
    found = connection.execute(text(FINAL_EVENTS), {"position": position, "since": since, "limit": limit}).mappings()
    return [(rows.from_json(Snapshot, row["snapshot"]), row["feed_time"]) for row in found]


def references_after(
    connection: Connection, position: datetime, *, since: datetime, limit: int
) -> list[tuple[FinalEventReference, datetime]]:
    """Returns what `after` does, without the jobs' content."""
    found = connection.execute(text(REFERENCES), {"position": position, "since": since, "limit": limit}).mappings()
    return [(_reference(row), row["feed_time"]) for row in found]


def by_key(connection: Connection, keys: Sequence[tuple[str, int]]) -> list[FinalEvent]:
    """Returns the final events of the given job ids and sequences that exist, in any order."""
    parameters = {"job_ids": [job_id for job_id, _ in keys], "sequences": [sequence for _, sequence in keys]}
    found = connection.execute(text(EVENTS_BY_KEY), parameters).mappings()
    return [FinalEvent(reference=_reference(row), snapshot=_snapshot(row)) for row in found]


def _reference(row: Row) -> FinalEventReference:
    return FinalEventReference(
        job_id=row["job_id"],
        tenant=row["tenant"],
        sequence=row["sequence"],
        type=row["type"],
        occurred_at=row["occurred_at"],
        callback_url=row["callback_url"],
    )


def _snapshot(row: Row) -> Snapshot:
    snapshot = rows.from_json(Snapshot, row["snapshot"])
    request = None if row["request"] is None else rows.from_json(JobRequest, row["request"])
    return replace(snapshot, job=replace(snapshot.job, request=request))
