"""The table `deletions`: folders of objects that are to go, until a worker says that they are gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from common.ids import new_uuid7, prefixed

DELETE_FOLDERS = """
INSERT INTO deletions (id, job_id, bucket, prefix, due_at)
VALUES (:id, :job_id, :bucket, :prefix, clock_timestamp())
ON CONFLICT (bucket, prefix) DO UPDATE SET due_at = excluded.due_at, lease_token = NULL
"""

# Until the worker's word comes, the folder is due again after a while: deleting twice harms nothing.
CLAIM_DELETIONS = """
WITH due AS (
    SELECT id FROM deletions WHERE bucket = :bucket AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT cardinality(CAST(:tokens AS uuid[]))
    FOR UPDATE SKIP LOCKED
),
numbered AS (SELECT id, row_number() OVER () AS place FROM due)
UPDATE deletions SET
    due_at = clock_timestamp() + make_interval(secs => :seconds),
    lease_token = (CAST(:tokens AS uuid[]))[numbered.place]
FROM numbered WHERE deletions.id = numbered.id
RETURNING deletions.id, deletions.prefix, deletions.lease_token
"""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A folder that a worker is to empty."""

    id: str
    prefix: str
    lease_token: UUID


def add_staging(connection: Connection, job_ids: Collection[str]) -> None:
    """Let go of everything that jobs have in staging."""
    for job_id in sorted(job_ids):
        _add(connection, job_id, bucket="staging", prefix=f"{job_id}/")


def add_public(connection: Connection, job_id: str) -> None:
    """Let go of a job's public images."""
    _add(connection, job_id, bucket="public", prefix=f"jobs/{job_id}/")


def _add(connection: Connection, job_id: str, *, bucket: str, prefix: str) -> None:
    parameters = {"id": prefixed("del", new_uuid7()), "job_id": job_id, "bucket": bucket, "prefix": prefix}
    connection.execute(text(DELETE_FOLDERS), parameters)


def claim(connection: Connection, *, bucket: str, tokens: Sequence[UUID], seconds: float) -> list[Deletion]:
    """Hold at most as many due folders as there are tokens."""
    parameters = {"bucket": bucket, "tokens": [str(token) for token in tokens], "seconds": seconds}
    return [Deletion(**row) for row in connection.execute(text(CLAIM_DELETIONS), parameters).mappings()]


def done(connection: Connection, deletion_id: str, token: UUID) -> bool:
    """Forget a folder that is empty, unless it was asked for again meanwhile."""
    statement = text("DELETE FROM deletions WHERE id = :id AND lease_token = CAST(:token AS uuid)")
    return connection.execute(statement, {"id": deletion_id, "token": str(token)}).rowcount > 0
