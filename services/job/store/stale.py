"""Finds jobs that break a rule of the stale-job monitor."""

from collections.abc import Collection
from dataclasses import asdict

from common.sql import Connection, text
from services.job.domain.circuit_breakers import MAX_AUTH_OUTAGE_SECONDS
from services.job.domain.jobs import Job
from services.job.domain.timeouts import StageTimeouts
from services.job.store.jobs import from_row
from services.job.store.pauses import HELD_UNTIL

#: The result of an open call is fetched even after the deadlines: such jobs must not fill a page of overdue ones.
_NOTHING_OPEN = """NOT EXISTS (
        SELECT FROM provider_calls AS call WHERE call.job_id = jobs.id AND call.phase IN ('intended', 'accepted'))"""

# Each rule has its own limit, so that many jobs of one kind do not delay the others. Rules about queued jobs read the
# front of an index: the time is a subquery, as no index is searched for `clock_timestamp()` itself. A job that was
# never claimed has no earlier wait.
FIND_STALE_JOBS = f"""
(SELECT id, sequence FROM jobs
WHERE state IN ('processing', 'generating') AND (
    lease_expires_at <= clock_timestamp()
    OR state = 'processing'
        AND generating_since < clock_timestamp() - make_interval(secs => :max_processing_seconds + :lease_seconds)
    OR generating_since < clock_timestamp() - make_interval(secs => :max_generating_seconds + :lease_seconds))
LIMIT :limit)
UNION ALL
(SELECT id, sequence FROM jobs
WHERE state = 'uploading' AND (
    lease_expires_at <= clock_timestamp()
    OR locked_at < clock_timestamp() - make_interval(secs => :max_uploading_seconds + :lease_seconds)
    OR lease_token IS NULL AND uploading_since < clock_timestamp() - make_interval(secs => :max_queued_seconds))
LIMIT :limit)
UNION ALL
(SELECT id, sequence FROM jobs
WHERE state = 'queued' AND finish_by <= (SELECT clock_timestamp()) AND {_NOTHING_OPEN}
ORDER BY finish_by LIMIT :limit)
UNION ALL
(SELECT id, sequence FROM jobs
WHERE state = 'queued' AND start_by <= (SELECT clock_timestamp()) AND started_at IS NULL
ORDER BY start_by LIMIT :limit)
UNION ALL
(SELECT id, sequence FROM jobs
WHERE state = 'queued' AND queued_at < (SELECT clock_timestamp() - make_interval(secs => :max_queued_seconds))
    AND greatest(queued_at, {HELD_UNTIL})
        < clock_timestamp() - make_interval(secs => greatest(:max_queued_seconds - queued_seconds, 0))
ORDER BY queued_at LIMIT :limit)
UNION ALL
(SELECT id, sequence FROM jobs
WHERE state = 'queued' AND claim_number > 0
    AND greatest(queued_at, {HELD_UNTIL})
        < clock_timestamp() - make_interval(secs => greatest(:max_queued_seconds - queued_seconds, 0))
LIMIT :limit)
UNION ALL
(SELECT waiting.id, waiting.sequence FROM breakers CROSS JOIN LATERAL (
    SELECT id, sequence FROM jobs
    WHERE jobs.state = 'queued' AND jobs.provider = breakers.provider AND jobs.model = breakers.model
        AND jobs.queued_at < (SELECT clock_timestamp() - make_interval(secs => :auth_patience))
        AND greatest(breakers.opened_at, jobs.queued_at, {HELD_UNTIL})
            < clock_timestamp() - make_interval(secs => :auth_patience)
        AND {_NOTHING_OPEN}
    ORDER BY jobs.queued_at LIMIT :limit) AS waiting
WHERE breakers.code = 'AUTH_ERROR' LIMIT :limit)
"""  # noqa: S608

LOCK_FREE = """
SELECT * FROM jobs WHERE id = ANY(:ids) ORDER BY id FOR UPDATE SKIP LOCKED
"""


def find(connection: Connection, limits: StageTimeouts, *, limit: int) -> list[tuple[str, int]]:
    """Returns id and sequence of jobs that break a rule, at most `limit` of each rule."""
    found = connection.execute(
        text(FIND_STALE_JOBS), asdict(limits) | {"limit": limit, "auth_patience": MAX_AUTH_OUTAGE_SECONDS}
    )
    # A job may break several rules.
    return list(dict.fromkeys((row.id, row.sequence) for row in found))


def lock_free(connection: Connection, ids: Collection[str]) -> list[Job]:
    """Locks those jobs that no other transaction has locked."""
    found = connection.execute(text(LOCK_FREE), {"ids": sorted(ids)}).mappings()
    return [from_row(row) for row in found]
