"""Writes claims: attempts, jobs, events and outbox rows in one statement."""

from collections.abc import Mapping, Sequence

from common.sql import Connection, text
from services.job.domain.calls import ProviderCall, cost_of
from services.job.domain.jobs import Attempt, Snapshot
from services.job.domain.transitions import Change
from services.job.store import job_writer, jobs, lanes, rows
from services.job.store.lanes import Lane

# `change` does not see what `idle` locks, and `idle` leaves out the jobs that `change` takes.
CLAIM = f"""
WITH change AS ({jobs.CHANGE_JOBS}), {job_writer.ADD_ENTRIES},
attempt AS (INSERT INTO attempts SELECT * FROM jsonb_populate_recordset(NULL::attempts, CAST(:attempts AS jsonb))),
idle AS ({lanes.LOCK_IDLE_LANES})
SELECT {job_writer.ALL_CHANGED}, ARRAY(SELECT id FROM idle) AS idle
"""  # noqa: S608


def write(
    connection: Connection,
    changes: Sequence[Change],
    attempts: Sequence[Attempt],
    *,
    calls: Mapping[str, Sequence[ProviderCall]],
    seen: Sequence[Lane] = (),
) -> list[int]:
    """Writes claims of locked jobs; locks those of the lanes `seen` without further due jobs, and returns their ids.

    `calls` are the jobs' calls, by job id. Fails as `job_writer.write` does. The constraint
    `a_lease_token_serves_one_claim` refuses a token that was used before.
    """
    written = [
        (change.transition, Snapshot(job=change.after, artifacts=(), cost=cost_of(calls[change.after.id])), change.wake)
        for change in changes
    ]
    committed = job_writer.as_committed(written)
    parameters = job_writer.change_parameters(changes, committed)
    parameters |= lanes.idle_parameters(seen)
    parameters["attempts"] = rows.as_parameter([rows.to_json(attempt) for attempt in attempts])
    job_writer.follow(connection, changes, committed)
    if not seen:
        connection.defer(text(CLAIM), parameters)
        return []
    return list(connection.execute(text(CLAIM), parameters).one().idle)
