"""Erases the user's data of deleted jobs; the row stays as a tombstone, the calls stay in the ledger."""

from collections.abc import Collection

from common.sql import Connection, text
from services.job.store.events import FINAL_EVENT_TYPES

ERASE_JOB = """
UPDATE jobs SET request = NULL, metadata = '{}', end_user = NULL, warnings = '[]', deleted_at = clock_timestamp()
WHERE id = :id
"""
# A provider's message may repeat the prompt, and an operation's URLs lead to its images. An open call still needs them,
# and loses them when it ends.
ERASE_PROVIDER_MESSAGES = """
UPDATE provider_calls AS call SET provider_error = NULL, operation_state = '{}'
FROM jobs WHERE jobs.id = call.job_id AND jobs.deleted_at IS NOT NULL
    AND call.job_id = ANY(:ids) AND call.phase NOT IN ('intended', 'accepted')
"""
# Events that are not published yet, and final events, which readers may still request, stay without user data.
FORGET_EVENTS = f"""
DELETE FROM job_events AS event
WHERE job_id = :id AND type NOT IN {FINAL_EVENT_TYPES}
    AND NOT EXISTS (
        SELECT FROM outbox WHERE outbox.job_id = event.job_id AND outbox.sequence = event.sequence)
"""  # noqa: S608
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
    """Erases a locked job."""
    connection.execute(text(ERASE_JOB), {"id": job_id})
    for statement in ERASE_RELATED:
        connection.execute(text(statement), {"id": job_id})
    erase_provider_messages(connection, [job_id])


def erase_provider_messages(connection: Connection, job_ids: Collection[str]) -> None:
    """Erases the providers' messages and operation states of ended calls, for those of the jobs that are deleted."""
    connection.execute(text(ERASE_PROVIDER_MESSAGES), {"ids": sorted(job_ids)})
