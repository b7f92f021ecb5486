"""The table `deletions`: folders of objects that are to go, until they were seen empty after every writer was gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from calotype import object_names
from sqlalchemy import Connection, text

from common.ids import new_uuid7, prefixed
from services.job.domain.timeouts import StageTimeouts
from services.job.store import rows

#: Between two looks at a folder that something may still be written to, though its time is over.
LOOK_AGAIN_SECONDS = 300.0
#: Longer than a page of folders takes a worker: a claim that ran out is another's.
HELD_SECONDS = 60.0

# Asked for again is begun anew: somebody has written meanwhile.
DELETE_FOLDERS = """
INSERT INTO deletions (id, job_id, bucket, prefix, due_at, asked_at)
SELECT id, job_id, bucket, prefix, clock_timestamp(), clock_timestamp()
FROM jsonb_to_recordset(CAST(:folders AS jsonb)) AS folder (id text, job_id text, bucket text, prefix text)
ON CONFLICT (bucket, prefix) DO UPDATE SET
    due_at = excluded.due_at, asked_at = excluded.asked_at, lease_token = NULL, look_again_at = NULL,
    seen_empty_at = NULL
"""

# A find of the sweep changes nothing of what was asked for already.
DELETE_FOUND_FOLDERS = """
INSERT INTO deletions (id, job_id, bucket, prefix, due_at, asked_at)
SELECT id, job_id, bucket, prefix, clock_timestamp() + make_interval(secs => :delay), clock_timestamp()
FROM jsonb_to_recordset(CAST(:folders AS jsonb)) AS folder (id text, job_id text, bucket text, prefix text)
ON CONFLICT (bucket, prefix) DO NOTHING
"""

# Until the worker's word comes, the folder is due again after a while: deleting twice harms nothing. A look is the last
# only if it begins when every claim of the job is long over and none of its calls is open. A public picture is copied
# from staging by the store itself, so once that is empty not even a worker that was frozen for hours can bring it back.
CLAIM_DELETIONS = """
WITH due AS (
    SELECT id FROM deletions WHERE bucket = :bucket AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT cardinality(CAST(:tokens AS uuid[]))
    FOR UPDATE SKIP LOCKED
),
numbered AS (SELECT id, row_number() OVER () AS place FROM due)
UPDATE deletions AS held SET
    due_at = clock_timestamp() + make_interval(secs => :seconds),
    lease_token = (CAST(:tokens AS uuid[]))[numbered.place],
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
RETURNING held.id, held.prefix, held.lease_token
"""

# What is locked is being asked for again: the word is of an earlier look.
NOTE_EMPTY_FOLDERS = """
WITH told AS (
    SELECT held.id, held.look_again_at
    FROM unnest(CAST(:ids AS text[]), CAST(:tokens AS uuid[])) AS one (id, token)
    JOIN deletions AS held ON held.id = one.id AND held.lease_token = one.token
    FOR UPDATE OF held SKIP LOCKED
),
kept AS (
    UPDATE deletions SET due_at = told.look_again_at, lease_token = NULL, seen_empty_at = clock_timestamp()
    FROM told WHERE deletions.id = told.id AND told.look_again_at IS NOT NULL
)
DELETE FROM deletions USING told WHERE deletions.id = told.id AND told.look_again_at IS NULL
"""


OLDEST_WAITS = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(asked_at)), 0) FROM deletions WHERE seen_empty_at IS NULL
"""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A folder that a worker is to empty."""

    id: str
    prefix: str
    lease_token: UUID


def add_staging(connection: Connection, job_ids: Collection[str]) -> None:
    """Let go of everything that jobs have in staging."""
    _add(connection, "staging", job_ids)


def add_public(connection: Connection, job_id: str) -> None:
    """Let go of a job's public images."""
    _add(connection, "public", [job_id])


def add_found(connection: Connection, bucket: str, job_ids: Collection[str], *, delay: float) -> int:
    """Let go, after so many seconds, of folders that should not be there; returns how many were not asked for yet."""
    if not job_ids:
        return 0
    parameters = {"folders": _folders(bucket, job_ids), "delay": delay}
    return connection.execute(text(DELETE_FOUND_FOLDERS), parameters).rowcount


def _add(connection: Connection, bucket: str, job_ids: Collection[str]) -> None:
    if job_ids:
        connection.execute(text(DELETE_FOLDERS), {"folders": _folders(bucket, job_ids)})


def _folders(bucket: str, job_ids: Collection[str]) -> str:
    folder_of = object_names.public_folder if bucket == "public" else object_names.staged_folder
    return rows.as_parameter(
        [
            {"id": prefixed("del", new_uuid7()), "job_id": job_id, "bucket": bucket, "prefix": folder_of(job_id)}
            for job_id in sorted(set(job_ids))
        ]
    )


def claim(connection: Connection, *, bucket: str, tokens: Sequence[UUID], limits: StageTimeouts) -> list[Deletion]:
    """Hold at most as many due folders as there are tokens."""
    parameters = {
        "bucket": bucket,
        "tokens": [str(token) for token in tokens],
        "seconds": 2 * limits.lease_seconds + HELD_SECONDS,
        "writers_end": limits.copies_end_seconds if bucket == "public" else limits.staging_ends_seconds,
        "look_again": LOOK_AGAIN_SECONDS,
    }
    return [Deletion(**row) for row in connection.execute(text(CLAIM_DELETIONS), parameters).mappings()]


def note_empty(connection: Connection, seen: Sequence[tuple[str, UUID]]) -> int:
    """Forget folders that were seen empty under these claims, if that look was the last; returns how many."""
    if not seen:
        return 0
    told = {"ids": [one for one, _ in seen], "tokens": [str(token) for _, token in seen]}
    return connection.execute(text(NOTE_EMPTY_FOLDERS), told).rowcount


def oldest_waits(connection: Connection) -> float:
    """Seconds for which the oldest folder has been waiting that nobody has seen empty."""
    return float(connection.execute(text(OLDEST_WAITS)).scalar_one())
