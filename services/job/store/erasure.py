"""Erases what a deleted job held of its user; its row stays as a tombstone, its calls stay in the ledger."""

from collections.abc import Collection

from sqlalchemy import Connection, text

ERASE_JOB = """
UPDATE jobs SET request = NULL, metadata = '{}', end_user = NULL, warnings = '[]', deleted_at = clock_timestamp()
WHERE id = :id
"""
# A vendor's words may repeat the prompt, and an operation's addresses lead to its pictures; an open call still needs
# them, and loses them when it ends.
ERASE_PROVIDER_MESSAGES = """
UPDATE provider_calls AS call SET provider_error = NULL, operation_state = '{}'
FROM jobs WHERE jobs.id = call.job_id AND jobs.deleted_at IS NOT NULL
    AND call.job_id = ANY(:ids) AND call.phase NOT IN ('intended', 'accepted')
"""
# What has still to be published, and what readers of final events may still ask for, outlives the job, without what it
# said of its user.
FORGET_EVENTS = """
DELETE FROM job_events AS event
WHERE job_id = :id AND type NOT IN ('job.completed', 'job.failed', 'job.canceled', 'job.settled')
    AND NOT EXISTS (
        SELECT FROM outbox WHERE outbox.job_id = event.job_id AND outbox.sequence = event.sequence)
"""
ERASE_EVENTS = """
UPDATE job_events SET snapshot = jsonb_set(
    jsonb_set(snapshot, '{artifacts}', '[]')
        || jsonb_build_object('job', snapshot -> 'job' || jsonb_build_object(
            'metadata', jsonb_build_object(), 'end_user', null, 'warnings', jsonb_build_array(), 'deferral', null)),
    '{job,failure,message}', '""', false)
WHERE job_id = :id
"""
ERASE_RELATED = (
    FORGET_EVENTS,
    ERASE_EVENTS,
    "DELETE FROM job_inputs WHERE job_id = :id",
    "DELETE FROM artifacts WHERE job_id = :id",
    "UPDATE attempts SET failure = NULL WHERE job_id = :id",
)


def erase(connection: Connection, job_id: str) -> None:
    """Erase a locked job."""
    connection.execute(text(ERASE_JOB), {"id": job_id})
    for statement in ERASE_RELATED:
        connection.execute(text(statement), {"id": job_id})
    erase_provider_messages(connection, [job_id])


def erase_provider_messages(connection: Connection, job_ids: Collection[str]) -> None:
    """Erase what vendors said of calls that have ended, of those jobs that are deleted."""
    connection.execute(text(ERASE_PROVIDER_MESSAGES), {"ids": sorted(job_ids)})
