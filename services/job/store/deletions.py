"""The table `deletions`: object folders to delete, until found empty after their last possible writer has ended."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from calotype import object_names

from common.ids import new_uuid7, prefixed
from common.sql import Connection, text
from services.job.domain.timeouts import StageTimeouts
from services.job.store import rows

#: Seconds between two checks of a folder that may still be written to although its writers' time is over.
RECHECK_SECONDS = 300.0
#: Seconds that a worker has for its claimed folders; then another worker may claim them.
HELD_SECONDS = 60.0

# A repeated request starts over, as something was written meanwhile.
DELETE_FOLDERS = """
INSERT INTO deletions (id, job_id, bucket, prefix, due_at, asked_at)
SELECT id, job_id, bucket, prefix, clock_timestamp(), clock_timestamp()
FROM jsonb_to_recordset(CAST(:folders AS jsonb)) AS folder (id text, job_id text, bucket text, prefix text)
ON CONFLICT (bucket, prefix) DO UPDATE SET
    due_at = excluded.due_at, asked_at = excluded.asked_at, lease_token = NULL, look_again_at = NULL,
    seen_empty_at = NULL
"""

# A leftover found by the sweep does not change an existing request.
DELETE_LEFTOVER_FOLDERS = """
INSERT INTO deletions (id, job_id, bucket, prefix, due_at, asked_at)
SELECT id, job_id, bucket, prefix, clock_timestamp() + make_interval(secs => :delay), clock_timestamp()
FROM jsonb_to_recordset(CAST(:folders AS jsonb)) AS folder (id text, job_id text, bucket text, prefix text)
ON CONFLICT (bucket, prefix) DO NOTHING
"""

# Without a report from the worker the folder becomes due again: deleting twice is harmless. A check is the last one
# only if it begins after every claim of the job has surely ended and none of its calls is open. The store itself copies
# public images from staging, so once staging is empty not even a worker that was frozen for hours can restore one.
# The first check of a completed job's folder deletes its images by their names, if each was requested once, so that
# nothing else was staged; a later check lists the folder. Other folders are listed at once: those of jobs of which a
# call failed may have its responses, and users want those of deleted and canceled jobs gone.
CLAIM_DELETIONS = """
WITH due AS (
    SELECT id FROM deletions WHERE bucket = :bucket AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT cardinality(CAST(:tokens AS uuid[]))
    FOR UPDATE SKIP LOCKED
),
numbered AS (SELECT id, row_number() OVER () AS position FROM due)
UPDATE deletions AS held SET
    due_at = clock_timestamp() + make_interval(secs => :seconds),
    lease_token = (CAST(:tokens AS uuid[]))[numbered.position],
    look_again_at = CASE
        WHEN clock_timestamp() < held.asked_at + make_interval(secs => :writers_end)
            THEN held.asked_at + make_interval(secs => :writers_end)
        WHEN EXISTS (SELECT FROM provider_calls AS call
                WHERE call.job_id = held.job_id AND call.phase IN ('intended', 'accepted'))
            OR held.bucket = 'public' AND EXISTS (SELECT FROM deletions AS source
                WHERE source.bucket = 'staging' AND source.prefix = held.job_id || '/')
            THEN clock_timestamp() + make_interval(secs => :look_again)
    END
FROM numbered WHERE held.id = numbered.id
RETURNING held.id, held.prefix, held.lease_token, CASE
    WHEN held.bucket = 'staging' AND held.look_again_at IS NOT NULL AND held.seen_empty_at IS NULL THEN ARRAY(
        SELECT artifact.staged_name FROM artifacts AS artifact
        JOIN jobs AS job ON job.id = artifact.job_id AND job.state = 'completed' AND job.deleted_at IS NULL
        WHERE artifact.job_id = held.job_id AND job.image_count = (
            SELECT sum(cardinality(call.image_indexes)) FROM provider_calls AS call WHERE call.job_id = held.job_id))
    ELSE '{}'
END AS names
"""

# A locked row is being requested again, so that the report is outdated.
NOTE_EMPTY_FOLDERS = """
WITH emptied AS (
    SELECT held.id, held.look_again_at
    FROM unnest(CAST(:ids AS text[]), CAST(:tokens AS uuid[])) AS claimed (id, token)
    JOIN deletions AS held ON held.id = claimed.id AND held.lease_token = claimed.token
    FOR UPDATE OF held SKIP LOCKED
),
kept AS (
    UPDATE deletions SET due_at = emptied.look_again_at, lease_token = NULL, seen_empty_at = clock_timestamp()
    FROM emptied WHERE deletions.id = emptied.id AND emptied.look_again_at IS NOT NULL
)
DELETE FROM deletions USING emptied WHERE deletions.id = emptied.id AND emptied.look_again_at IS NULL
"""

OLDEST_WAITS = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(asked_at)), 0) FROM deletions WHERE seen_empty_at IS NULL
"""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A folder that a worker has claimed to empty."""

    #: `del_` and 32 hex digits of a UUIDv7.
    id: str
    #: Prefix of the objects' names, ending in `/`.
    prefix: str
    #: Token of the worker's claim.
    lease_token: UUID
    #: Names of all objects that are known, if deleting them is enough for now; else empty: the folder must be listed.
    names: Sequence[str] = ()


def add_staging(connection: Connection, job_ids: Collection[str]) -> None:
    """Schedules the deletion of the jobs' folders in staging."""
    _add(connection, "staging", job_ids)


def add_public(connection: Connection, job_id: str) -> None:
    """Schedules the deletion of a job's public images."""
    _add(connection, "public", [job_id])


def add_leftovers(connection: Connection, bucket: str, job_ids: Collection[str], *, delay: float) -> int:
    """Schedules the deletion of leftover folders in `delay` seconds; returns the number of new requests."""
    if not job_ids:
        return 0
    parameters = {"folders": _folders(bucket, job_ids), "delay": delay}
    return connection.execute(text(DELETE_LEFTOVER_FOLDERS), parameters).rowcount


def _add(connection: Connection, bucket: str, job_ids: Collection[str]) -> None:
    if job_ids:
        connection.defer(text(DELETE_FOLDERS), {"folders": _folders(bucket, job_ids)})


def staging_parameters(job_ids: Collection[str]) -> dict[str, str]:
    """Returns the parameters of `DELETE_FOLDERS` for the jobs' folders in staging."""
    return {"folders": _folders("staging", job_ids)}


def _folders(bucket: str, job_ids: Collection[str]) -> str:
    folder_of = object_names.public_folder if bucket == "public" else object_names.staged_folder
    return rows.as_parameter(
        [
            {"id": prefixed("del", new_uuid7()), "job_id": job_id, "bucket": bucket, "prefix": folder_of(job_id)}
            for job_id in sorted(set(job_ids))
        ]
    )


def claim(connection: Connection, *, bucket: str, tokens: Sequence[UUID], limits: StageTimeouts) -> list[Deletion]:
    """Claims due folders for a worker, at most one per token."""
    parameters = {
        "bucket": bucket,
        "tokens": [str(token) for token in tokens],
        "seconds": 2 * limits.lease_seconds + HELD_SECONDS,
        "writers_end": limits.copies_end_seconds if bucket == "public" else limits.staging_ends_seconds,
        "look_again": RECHECK_SECONDS,
    }
    return [Deletion(**row) for row in connection.execute(text(CLAIM_DELETIONS), parameters).mappings()]


def note_empty(connection: Connection, emptied: Sequence[tuple[str, UUID]]) -> int:
    """Records folders that were found empty, by (id, lease token); returns the number of finished deletions.

    A deletion is finished if the check was its last one; the others become due again.
    """
    if not emptied:
        return 0
    parameters = {"ids": [id_ for id_, _ in emptied], "tokens": [str(token) for _, token in emptied]}
    return connection.execute(text(NOTE_EMPTY_FOLDERS), parameters).rowcount


def oldest_waits(connection: Connection) -> float:
    """Returns the age in seconds of the oldest request whose folder was never found empty; 0 for none."""
    return float(connection.execute(text(OLDEST_WAITS)).scalar_one())
