"""Reads the age of the oldest waiting work, each by a few rows of an index, however much waits."""

from common.sql import Connection, text
from services.job.store.lanes import PRIORITIES

#: Lanes in which the oldest due job is searched.
MAX_LANES = 256
#: Uploads, by their time, among which the oldest without an uploader is searched: more than uploaders hold at a time.
MAX_UPLOADS = 1_024

#: Jobs of a state, the first submitted ones, among which the one that is in it for longest is searched.
MAX_IN_STAGE = 1_024

# Ids in the outbox are UUIDv7: the first one is the oldest.
OLDEST_DUE = """
SELECT
    (SELECT min(first.run_at)
        FROM (SELECT * FROM lanes WHERE wakes_at IS NULL LIMIT :lanes) AS lane
        CROSS JOIN unnest(CAST(:priorities AS smallint[])) AS level (priority)
        CROSS JOIN LATERAL (
            SELECT run_at FROM jobs WHERE state = 'queued' AND jobs.tenant = lane.tenant
                AND jobs.provider = lane.provider AND jobs.model = lane.model AND jobs.fallback = lane.fallback
                AND jobs.priority = level.priority ORDER BY run_at, id LIMIT 1
        ) AS first) AS job,
    (SELECT min(run_at) FROM (
        SELECT run_at, lease_token FROM jobs WHERE state = 'uploading' ORDER BY run_at, id LIMIT :uploads
    ) AS upload WHERE lease_token IS NULL) AS upload,
    (SELECT asked_at FROM deletions WHERE seen_empty_at IS NULL ORDER BY asked_at LIMIT 1) AS deletion,
    (SELECT occurred_at FROM (SELECT job_id, sequence FROM outbox ORDER BY id LIMIT 1) AS entry
        JOIN job_events USING (job_id, sequence)) AS outbox,
    clock_timestamp() AS now
"""

# The start of the claim is that of both states at a generator.
OLDEST_IN_STAGE = """
SELECT stage.state, extract(epoch FROM clock_timestamp() - min(job.since)) AS seconds
FROM unnest(CAST(:states AS text[])) AS stage (state)
LEFT JOIN LATERAL (
    SELECT CASE WHEN state = 'uploading' THEN uploading_since ELSE generating_since END AS since FROM jobs
    WHERE jobs.state = stage.state AND deleted_at IS NULL ORDER BY created_at, id LIMIT :jobs
) AS job ON true
GROUP BY stage.state
"""
STAGES = ("processing", "generating", "uploading")


def oldest_in_stage(connection: Connection) -> dict[str, float]:
    """Returns the seconds for which the job that is in a stage for longest has been there; 0 for an empty stage."""
    found = connection.execute(text(OLDEST_IN_STAGE), {"states": list(STAGES), "jobs": MAX_IN_STAGE})
    return {row.state: max(float(row.seconds or 0.0), 0.0) for row in found}


def oldest_due(connection: Connection) -> dict[str, float]:
    """Returns the seconds for which the oldest work has been due, by kind of work; 0 where none is due."""
    parameters = {"lanes": MAX_LANES, "priorities": PRIORITIES, "uploads": MAX_UPLOADS}
    found = dict(connection.execute(text(OLDEST_DUE), parameters).mappings().one())
    now = found.pop("now")
    return {work: max((now - since).total_seconds(), 0.0) if since else 0.0 for work, since in found.items()}
