"""Erases what a deleted job held of its user; its row stays as a tombstone, its calls stay in the ledger."""

from collections.abc import Collection

from sqlalchemy import Connection, text

ERASE_JOB = """
UPDATE jobs SET request = NULL, metadata = '{}', end_user = NULL, warnings = '[]', deleted_at = clock_timestamp()
WHERE id = :id
"""
# A vendor's words may repeat the prompt, and an operation's addresses lead to its pictures; an open call still needs
# them, and loses them when it ends.
ERASE_VENDORS_WORDS = """
UPDATE provider_calls AS call SET provider_error = NULL, operation_state = '{}'
FROM jobs WHERE jobs.id = call.job_id AND jobs.deleted_at IS NOT NULL
    AND call.job_id = ANY(:ids) AND call.phase NOT IN ('intended', 'accepted')
"""
# Events hold the job as it was; the outbox rows of unpublished ones go with them.
ERASE_PARTS = (
    "DELETE FROM job_events WHERE job_id = :id",
    "DELETE FROM job_inputs WHERE job_id = :id",
    "DELETE FROM artifacts WHERE job_id = :id",
    "UPDATE attempts SET failure = NULL WHERE job_id = :id",
)


def erase(connection: Connection, job_id: str) -> None:
    """Erase a locked job."""
    connection.execute(text(ERASE_JOB), {"id": job_id})
    for statement in ERASE_PARTS:
        connection.execute(text(statement), {"id": job_id})
    erase_vendors_words(connection, [job_id])


def erase_vendors_words(connection: Connection, job_ids: Collection[str]) -> None:
    """Erase what vendors said of calls that have ended, of those jobs that are deleted."""
    connection.execute(text(ERASE_VENDORS_WORDS), {"ids": sorted(job_ids)})
