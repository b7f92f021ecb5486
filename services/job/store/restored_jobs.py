"""Statements for a database that was restored from a backup."""

from collections.abc import Sequence

from common.sql import Connection, text
from services.job.domain.calls import ProviderCall
from services.job.domain.forgotten_calls import MAY_HAVE_BOUGHT_SINCE
from services.job.store import rows

#: `MAY_HAVE_BOUGHT_SINCE` as an SQL list, in parentheses.
_STATES = "({})".format(", ".join(f"'{state}'" for state in MAY_HAVE_BOUGHT_SINCE))

# One pass over the primary key.
JOBS_AFTER = f"""
SELECT id FROM jobs WHERE id > :after AND state IN {_STATES} AND deleted_at IS NULL ORDER BY id LIMIT :limit
"""  # noqa: S608

# An image has at most one call that is not lifted. A lifted one requires a consent, too.
ADD_FORGOTTEN_CALLS = """
WITH call AS (
    INSERT INTO provider_calls SELECT * FROM jsonb_populate_recordset(NULL::provider_calls, CAST(:calls AS jsonb))
)
INSERT INTO provider_call_images (call_id, job_id, image_index, phase, lifted)
SELECT new.call_id, new.job_id, new.image_index, new.phase,
    row_number() OVER (PARTITION BY new.job_id, new.image_index ORDER BY new.call_id) > 1 OR EXISTS (
        SELECT FROM provider_call_images AS known
        WHERE (known.job_id, known.image_index) = (new.job_id, new.image_index) AND NOT known.lifted
            AND known.phase IN ('intended', 'accepted', 'succeeded', 'unknown'))
FROM jsonb_populate_recordset(NULL::provider_call_images, CAST(:covered AS jsonb)) AS new
"""

SESSIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :application
"""


def ids_after(connection: Connection, after: str, *, limit: int) -> list[str]:
    """Returns the next jobs for which a call may have been made since the backup, in the order of their ids."""
    return connection.execute(text(JOBS_AFTER), {"after": after, "limit": limit}).scalars().all()


def add_calls(connection: Connection, forgotten: Sequence[ProviderCall]) -> None:
    """Adds calls to the ledger, whatever other calls may have bought their images."""
    if not forgotten:
        return
    covered = [
        {"call_id": call.id, "job_id": call.job_id, "image_index": index, "phase": call.phase}
        for call in forgotten
        for index in call.image_indexes
    ]
    calls = rows.as_parameter([rows.to_json(call) for call in forgotten])
    connection.defer(text(ADD_FORGOTTEN_CALLS), {"calls": calls, "covered": rows.as_parameter(covered)})


def sessions(connection: Connection, application: str) -> int:
    """Returns the number of connections to this database under an application's name."""
    count: int = connection.execute(text(SESSIONS), {"application": application}).scalar_one()
    return count
