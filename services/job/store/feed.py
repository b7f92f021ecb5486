"""The feed of final events: an event gets its place after its commit, so that none appears behind a reader.

`job_events.feed_time` is the place: no earlier than the event occurred, unique, and later than all that were given
before. What a transaction wrote long ago and commits now comes last. Whoever reads gives the places, one at a time.
"""

from datetime import datetime

from sqlalchemy import Connection, text

from services.job.domain.jobs import Snapshot
from services.job.store import rows

#: Events that get their place at once.
MAX_POSITIONED = 1_000

LOCK_FEED = "SELECT last_time FROM final_event_feed FOR UPDATE SKIP LOCKED"

# Events that somebody else is changing are passed by, and get a later place: nobody is waited for in here.
PLACE_WHAT_IS_COMMITTED = """
WITH pending AS (
    SELECT job_id, sequence, occurred_at FROM job_events
    WHERE feed_time IS NULL AND type IN ('job.completed', 'job.failed', 'job.canceled', 'job.settled')
    ORDER BY occurred_at, job_id, sequence LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY occurred_at, job_id, sequence) AS number FROM pending
), placed AS (
    UPDATE job_events AS event
    SET feed_time = greatest(numbered.occurred_at, feed.last_time) + numbered.number * interval '1 microsecond'
    FROM numbered, final_event_feed AS feed
    WHERE event.job_id = numbered.job_id AND event.sequence = numbered.sequence
    RETURNING event.feed_time
), newest AS (
    SELECT max(feed_time) AS feed_time, count(*) AS placed FROM placed
)
UPDATE final_event_feed SET last_time = newest.feed_time FROM newest WHERE newest.placed > 0
RETURNING newest.placed
"""

# A job that is not final settles calls, too; that is no end.
FINAL_EVENTS = """
SELECT snapshot, feed_time FROM job_events
WHERE feed_time > :place AND occurred_at > :since AND state IN ('completed', 'failed', 'canceled')
ORDER BY feed_time LIMIT :limit
"""


def extend(connection: Connection, *, limit: int = MAX_POSITIONED) -> int:
    """Give the oldest events that have no place theirs; how many. None while another transaction does the same."""
    if connection.execute(text(LOCK_FEED)).first() is None:
        return 0
    return connection.execute(text(PLACE_WHAT_IS_COMMITTED), {"limit": limit}).scalar() or 0


def after(connection: Connection, place: datetime, *, since: datetime, limit: int) -> list[tuple[Snapshot, datetime]]:
    """The next events behind a place that occurred after a time, each with its place."""
    found = connection.execute(text(FINAL_EVENTS), {"place": place, "since": since, "limit": limit}).mappings()
    return [(rows.from_json(Snapshot, row["snapshot"]), row["feed_time"]) for row in found]
