"""Writes transitions: job, event and outbox row in one transaction."""

from collections.abc import Sequence
from functools import partial

from common.after_commit import after_commit
from common.ids import new_uuid7
from common.sql import Connection, text
from services.job import counters
from services.job.domain.calls import cost_of, needs_consent
from services.job.domain.claim_end import images_to_retry
from services.job.domain.jobs import Job, Snapshot
from services.job.domain.states import State, Transition
from services.job.domain.transitions import Change
from services.job.store import artifacts, calls, committed_changes, events, jobs, outbox, rows, transition_log
from services.job.store.committed_changes import CommittedChange

_ADD_ENTRIES = """
event AS (
    INSERT INTO job_events SELECT * FROM jsonb_populate_recordset(NULL::job_events, CAST(:events AS jsonb))
),
message AS (
    INSERT INTO outbox SELECT * FROM jsonb_populate_recordset(NULL::outbox, CAST(:messages AS jsonb))
)
"""
CHANGE = f"WITH change AS ({jobs.CHANGE_JOBS}), {_ADD_ENTRIES} SELECT id FROM change"  # noqa: S608
ADD = f"""
WITH job AS (INSERT INTO jobs SELECT * FROM jsonb_populate_recordset(NULL::jobs, CAST(:rows AS jsonb))),
{_ADD_ENTRIES} SELECT
"""  # noqa: S608


class ConcurrentChangeError(Exception):
    """A guarded update did not match: the job changed although its row was locked."""


def write(connection: Connection, changes: Sequence[Change]) -> dict[str, Snapshot]:
    """Applies transitions of locked jobs, at most one per job, and adds their events and outbox rows.

    Call it after everything else that the transaction writes about the jobs, so that the events contain it.
    Returns the changed jobs by id. Raises `ConcurrentChangeError` when a job no longer has the state and sequence that
    were decided upon.
    """
    if not changes:
        return {}
    written = snapshots(connection, [change.after for change in changes])
    committed = as_committed([(change.transition, written[change.after.id], change.wake) for change in changes])
    entries = _entries(committed)
    changed = len(connection.execute(text(CHANGE), jobs.change_parameters(changes) | entries).all())
    if changed != len(changes):
        raise ConcurrentChangeError(f"{len(changes) - changed} of {len(changes)} transitions did not apply.")
    counters.changed(connection, changes)
    after_commit(connection, partial(transition_log.write, changes))
    committed_changes.note(connection, committed)
    return written


def write_new(connection: Connection, job: Job) -> Snapshot:
    """Inserts a new job with its first event."""
    return write_batch(connection, [job])[job.id]


def write_batch(connection: Connection, new: Sequence[Job]) -> dict[str, Snapshot]:
    """Inserts new jobs with their first events; returns them by id."""
    if not new:
        return {}
    # A new job has neither images nor calls.
    written = {job.id: Snapshot(job=job, artifacts=(), cost=cost_of(())) for job in new}
    committed = as_committed([(Transition.SUBMIT, snapshot, "generate") for snapshot in written.values()])
    added = {"rows": rows.as_parameter([jobs.to_row(job) for job in new])}
    connection.execute(text(ADD), added | _entries(committed))
    for job in new:
        counters.submitted(connection, job)
        after_commit(connection, partial(transition_log.write_new, job))
    committed_changes.note(connection, committed)
    return written


def snapshots(connection: Connection, of: Sequence[Job]) -> dict[str, Snapshot]:
    """Returns jobs with their public images and costs, by id."""
    images = artifacts.of_jobs(connection, [job.id for job in of if job.state in (State.COMPLETED, State.FAILED)])
    ledger = calls.of_jobs(connection, [job.id for job in of if job.may_have_calls])
    found = {}
    for job in of:
        staged = {artifact.image_index for artifact in images[job.id]}
        missing = images_to_retry(job, staged=staged)
        found[job.id] = Snapshot(
            job=job,
            artifacts=tuple(images[job.id]) if job.state is State.COMPLETED else (),
            cost=cost_of(ledger[job.id]),
            retry_needs_consent=job.state is State.FAILED and needs_consent(job, calls=ledger[job.id], missing=missing),
        )
    return found


def as_committed(changes: Sequence[tuple[Transition, Snapshot, str | None]]) -> list[CommittedChange]:
    """Returns transitions as they will be committed, each with a new outbox row."""
    return [
        CommittedChange(
            due=outbox.Due(
                id=new_uuid7(),
                job_id=snapshot.job.id,
                sequence=snapshot.job.sequence,
                wake=wake,
                traceparent=snapshot.job.traceparent,
                type=transition,
                state=snapshot.job.state,
                occurred_at=snapshot.job.updated_at,
                tenant=snapshot.job.tenant,
            ),
            snapshot=snapshot,
        )
        for transition, snapshot, wake in changes
    ]


def _entries(committed: Sequence[CommittedChange]) -> dict[str, str]:
    """Returns the parameters of `_ADD_ENTRIES`."""
    return {
        "events": rows.as_parameter([events.to_row(Transition(each.due.type), each.snapshot) for each in committed]),
        "messages": rows.as_parameter([outbox.to_row(each.due) for each in committed]),
    }
