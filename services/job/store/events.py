"""The table `job_events`: each change of a job, with the job as it was then."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, text

from services.job.domain.jobs import Snapshot
from services.job.domain.states import Transition
from services.job.store import rows

# Jobs are read in the order in which they are given.
LATER_EVENTS = """
SELECT event.snapshot
FROM unnest(CAST(:job_ids AS text[]), CAST(:sequences AS bigint[])) WITH ORDINALITY AS seen (job_id, sequence, turn)
JOIN job_events AS event ON event.job_id = seen.job_id AND event.sequence > seen.sequence
ORDER BY seen.turn, event.sequence
LIMIT :limit
"""


def append(connection: Connection, changes: Sequence[tuple[Transition, Snapshot]]) -> None:
    """Append one event per transition; `(job_id, sequence)` can exist once only."""
    rows.insert(
        connection,
        "job_events",
        [
            {
                "job_id": seen.job.id,
                "sequence": seen.job.sequence,
                "type": transition,
                "state": seen.job.state,
                "occurred_at": seen.job.updated_at,
                "snapshot": rows.to_json(_public(seen)),
            }
            for transition, seen in changes
        ],
    )


def later(connection: Connection, positions: Mapping[str, int], *, limit: int) -> list[Snapshot]:
    """Events after the given sequence of each job, per job in order, all jobs in one query and in the given order."""
    parameters = {"job_ids": list(positions), "sequences": list(positions.values()), "limit": limit}
    found = connection.execute(text(LATER_EVENTS), parameters).mappings()
    return [rows.from_json(Snapshot, row["snapshot"]) for row in found]


def gone(connection: Connection, job_ids: Collection[str]) -> set[str]:
    """Which of the jobs will tell nothing any more: deleted, or never there."""
    statement = text("SELECT id FROM jobs WHERE id = ANY(:ids) AND deleted_at IS NULL")
    return set(job_ids) - set(connection.execute(statement, {"ids": sorted(job_ids)}).scalars())


def _public(seen: Snapshot) -> Snapshot:
    # A request is large and never changes; a lease token is a right.
    return replace(seen, job=replace(seen.job, request=None, lease=None))
