"""The table `sweeps`: how far each bucket has been compared with the database, and which objects are expected."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.sql import Connection, text

CLAIM_PAGE = """
INSERT INTO sweeps (bucket, reached, due_at, token, claimed_at, missing, missing_before)
VALUES (:bucket, '', clock_timestamp() + make_interval(secs => :seconds), CAST(:token AS uuid), clock_timestamp(), 0, 0)
ON CONFLICT (bucket) DO UPDATE SET
    due_at = excluded.due_at, token = excluded.token, claimed_at = excluded.claimed_at
WHERE sweeps.due_at <= clock_timestamp()
RETURNING reached
"""

LOCK_PAGE = """
SELECT reached, claimed_at FROM sweeps WHERE bucket = :bucket AND token = CAST(:token AS uuid) FOR UPDATE
"""

# In the order of the objects' names: a folder is named after its job.
STORED_NAMES = """
SELECT artifact.public_name FROM artifacts AS artifact JOIN jobs ON jobs.id = artifact.job_id
WHERE artifact.job_id >= :first AND artifact.job_id <= :last
    AND artifact.public_name COLLATE "C" > :after AND (:is_end OR artifact.public_name COLLATE "C" <= :reached)
    AND jobs.state = 'completed' AND jobs.deleted_at IS NULL AND artifact.stored_at < :before
ORDER BY artifact.job_id, artifact.public_name COLLATE "C" LIMIT :limit
"""

TURN_PAGE = """
UPDATE sweeps SET reached = :reached, token = NULL, missing = missing + :missing,
    due_at = clock_timestamp() + make_interval(secs => :pause)
WHERE bucket = :bucket
"""

RESTART_SWEEP = """
UPDATE sweeps SET reached = '', token = NULL, missing_before = missing + :missing, missing = 0,
    due_at = clock_timestamp() + make_interval(secs => :pause)
WHERE bucket = :bucket
"""

KNOWN_JOBS = """
SELECT id, state, deleted_at IS NOT NULL AS is_deleted FROM jobs WHERE id = ANY(:ids)
"""


@dataclass(frozen=True, kw_only=True)
class SweepPage:
    """A page that a worker has claimed."""

    #: Name after which the page begins; "" for the start of the bucket.
    reached: str
    #: Time of the claim; the worker lists the bucket after it.
    claimed_at: datetime


def claim(connection: Connection, bucket: str, token: UUID, *, seconds: float) -> str | None:
    """Claims the next page for `seconds`; returns the name after which it begins, None when none is due."""
    parameters = {"bucket": bucket, "token": str(token), "seconds": seconds}
    after: str | None = connection.execute(text(CLAIM_PAGE), parameters).scalar()
    return after


def lock(connection: Connection, bucket: str, token: UUID) -> SweepPage | None:
    """Locks the page claimed with the token; returns None when another worker has it by now."""
    row = connection.execute(text(LOCK_PAGE), {"bucket": bucket, "token": str(token)}).mappings().first()
    return SweepPage(**row) if row else None


def stored_names(
    connection: Connection, *, first: str, last: str, after: str, reached: str | None, before: datetime, limit: int
) -> list[str]:
    """Returns public names of completed jobs in (`after`, `reached`] that were stored before a time, in order.

    `reached` None means to the end. `first` and `last` are job ids that bound the search.
    """
    parameters = {
        "first": first,
        "last": last,
        "after": after,
        "is_end": reached is None,
        "reached": reached or "",
        "before": before,
        "limit": limit,
    }
    return list(connection.execute(text(STORED_NAMES), parameters).scalars())


def known_jobs(connection: Connection, ids: list[str]) -> dict[str, tuple[str, bool]]:
    """Returns (state, whether it was deleted) of each job that has a row, by id."""
    return {row.id: (row.state, row.is_deleted) for row in connection.execute(text(KNOWN_JOBS), {"ids": ids})}


def turn_page(connection: Connection, bucket: str, *, reached: str | None, missing: int, pause: float) -> None:
    """Makes the next page due in `pause` seconds: after `reached`, or from the start of the bucket for None."""
    parameters = {"bucket": bucket, "reached": reached, "missing": missing, "pause": pause}
    connection.execute(text(RESTART_SWEEP if reached is None else TURN_PAGE), parameters)
