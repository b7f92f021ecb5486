"""The table `job_events`: each transition of a job, with a snapshot of the job after it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from common.sql import Connection, text
from services.job.domain.jobs import Job, Snapshot
from services.job.domain.states import State, Transition
from services.job.store import rows

#: Types of events that the feed of final events may contain.
FINAL_TRANSITIONS = (Transition.STORED, Transition.FAIL, Transition.CANCEL, Transition.SETTLE)
#: Greater than every sequence.
MAX_SEQUENCE = 2**63 - 1
#: `FINAL_TRANSITIONS` as an SQL list in parentheses.
FINAL_EVENT_TYPES = "({})".format(", ".join(f"'{type_}'" for type_ in FINAL_TRANSITIONS))

# Jobs are read in the given order.
LATER_EVENTS = """
SELECT event.snapshot
FROM unnest(CAST(:job_ids AS text[]), CAST(:sequences AS bigint[])) WITH ORDINALITY AS seen (job_id, sequence, turn)
JOIN job_events AS event ON event.job_id = seen.job_id AND event.sequence > seen.sequence
ORDER BY seen.turn, event.sequence
LIMIT :limit
"""

# Read from the end of the primary key; snapshots stay in the table.
EVENTS_BEFORE = """
SELECT sequence, type, state, occurred_at FROM job_events
WHERE job_id = :job_id AND sequence < :before ORDER BY sequence DESC LIMIT :limit
"""


@dataclass(frozen=True, kw_only=True)
class RecordedEvent:
    """One transition of a job."""

    #: `Job.sequence` after it, from 1.
    sequence: int
    #: Name of the transition, such as `claim`.
    type: str
    #: State after it.
    state: State
    #: Time of the transition.
    occurred_at: datetime


def to_row(transition: Transition, snapshot: Snapshot) -> dict[str, Any]:
    """Returns the columns of the event of a transition; `(job_id, sequence)` is unique."""
    return {
        "job_id": snapshot.job.id,
        "sequence": snapshot.job.sequence,
        "type": transition,
        "state": snapshot.job.state,
        "occurred_at": snapshot.job.updated_at,
        "snapshot": rows.to_json(as_public(snapshot)),
        "callback_url": _callback_url(transition, snapshot.job),
    }


def later(connection: Connection, positions: Mapping[str, int], *, limit: int) -> list[Snapshot]:
    """Returns up to `limit` events after the given sequences by job id: jobs in the given order, events in theirs."""
    parameters = {"job_ids": list(positions), "sequences": list(positions.values()), "limit": limit}
    found = connection.execute(text(LATER_EVENTS), parameters).mappings()
    return [rows.from_json(Snapshot, row["snapshot"]) for row in found]


def page_before(connection: Connection, job_id: str, *, before: int, limit: int) -> list[RecordedEvent]:
    """Returns up to `limit` events of a job before a sequence, newest first; 0: its newest events."""
    parameters = {"job_id": job_id, "before": before or MAX_SEQUENCE, "limit": limit}
    return [
        RecordedEvent(**{**row, "state": State(row["state"])})
        for row in connection.execute(text(EVENTS_BEFORE), parameters).mappings()
    ]


def deleted_or_missing(connection: Connection, job_ids: Collection[str]) -> set[str]:
    """Returns the ids of jobs that will have no events any more: deleted, or without a row."""
    statement = text("SELECT id FROM jobs WHERE id = ANY(:ids) AND deleted_at IS NULL")
    return set(job_ids) - set(connection.execute(statement, {"ids": sorted(job_ids)}).scalars())


def as_public(snapshot: Snapshot) -> Snapshot:
    """Returns the snapshot as its event has it."""
    # A request is large and never changes; a lease token is a secret.
    return replace(snapshot, job=replace(snapshot.job, request=None, lease=None))


def _callback_url(transition: Transition, job: Job) -> str | None:
    """Returns the URL that is to be notified of a final event; None for none. It stays when the job is deleted."""
    is_final = transition in FINAL_TRANSITIONS and job.is_final
    return job.request.callback_url if is_final and job.request else None
