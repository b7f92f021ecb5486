"""Erases what a deleted job held of its user; its row stays as a tombstone, its calls stay in the ledger."""

from sqlalchemy import Connection, text

ERASE_JOB = """
UPDATE jobs SET request = NULL, metadata = '{}', end_user = NULL, deleted_at = clock_timestamp() WHERE id = :id
"""
# Events hold the job as it was; the outbox rows of unpublished ones go with them.
ERASE_PARTS = (
    "DELETE FROM job_events WHERE job_id = :id",
    "DELETE FROM job_inputs WHERE job_id = :id",
    "DELETE FROM artifacts WHERE job_id = :id",
)


def erase(connection: Connection, job_id: str) -> None:
    """Erase a locked job."""
    connection.execute(text(ERASE_JOB), {"id": job_id})
    for statement in ERASE_PARTS:
        connection.execute(text(statement), {"id": job_id})
