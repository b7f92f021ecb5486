"""Writes transitions: job, event and outbox row in one transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from common.after_commit import after_commit
from common.ids import new_uuid7
from common.sql import Connection, text
from services.job import counters
from services.job.domain.calls import ProviderCall, cost_of, needs_consent
from services.job.domain.claim_end import images_to_retry
from services.job.domain.jobs import Artifact, Job, Snapshot
from services.job.domain.states import State, Transition
from services.job.domain.transitions import Change
from services.job.store import (
    artifacts,
    attempts,
    calls,
    committed_changes,
    deletions,
    events,
    jobs,
    outbox,
    rows,
    transition_log,
)
from services.job.store.committed_changes import CommittedChange

T = TypeVar("T")

#: CTEs that add the parameters `entries` to the tables of events and messages.
ADD_ENTRIES = """
event AS (
    INSERT INTO job_events SELECT * FROM jsonb_populate_recordset(NULL::job_events, CAST(:events AS jsonb))
),
message AS (
    INSERT INTO outbox SELECT * FROM jsonb_populate_recordset(NULL::outbox, CAST(:messages AS jsonb))
)
"""
#: A guarded update may not match although its job was locked; the statement then fails, and with it the transaction.
ALL_CHANGED = "require_transitions((SELECT count(*) FROM change), :decided)"
# The ends of claims and the requests of deletions only where there are any.
_ENDED, _EMPTIED = f", ended AS ({attempts.END_ATTEMPTS})", f", emptied AS ({deletions.DELETE_FOLDERS})"
CHANGE = "WITH change AS ({change}), {entries}{ended}{emptied} SELECT {all_changed}"
ADD = f"""
WITH job AS (INSERT INTO jobs SELECT * FROM jsonb_populate_recordset(NULL::jobs, CAST(:rows AS jsonb))),
{ADD_ENTRIES} SELECT
"""  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class KnownRows:
    """Rows of changed jobs that the transaction has read or written; those of other jobs are read."""

    #: All images, by job id.
    artifacts: Mapping[str, Sequence[Artifact]] = field(default_factory=dict)
    #: All calls, by job id.
    calls: Mapping[str, Sequence[ProviderCall]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SideRows:
    """Rows that are written with transitions."""

    #: Ends of the changed jobs' claims.
    ends: Sequence[attempts.End] = ()
    #: Ids of the jobs whose folders in staging are to be deleted.
    emptied: Collection[str] = ()


def write(
    connection: Connection, changes: Sequence[Change], *, known: KnownRows | None = None, side: SideRows | None = None
) -> dict[str, Snapshot]:
    """Applies transitions of locked jobs, at most one per job, and adds their events, outbox rows and `side` rows.

    Call it after everything else that the transaction writes about the jobs, so that the events contain it.
    Returns the changed jobs by id. The transaction fails (SQLSTATE U0001) if a job no longer has the state and sequence
    that were decided upon.
    """
    if not changes:
        return {}
    known, side = known or KnownRows(), side or SideRows()
    written = snapshots(connection, [change.after for change in changes], known=known)
    committed = as_committed([(change.transition, written[change.after.id], change.wake) for change in changes])
    parameters = change_parameters(changes, committed)
    parameters |= attempts.end_parameters(side.ends) if side.ends else {}
    parameters |= deletions.staging_parameters(side.emptied) if side.emptied else {}
    connection.defer(text(_change(side)), parameters)
    follow(connection, changes, committed)
    attempts.count_ends(connection, side.ends)
    return written


def change_parameters(changes: Sequence[Change], committed: Sequence[CommittedChange]) -> dict[str, object]:
    """Returns the parameters of `jobs.CHANGE_JOBS`, `ADD_ENTRIES` and `ALL_CHANGED`."""
    return jobs.change_parameters(changes) | entries(committed) | {"decided": len(changes)}


def follow(connection: Connection, changes: Sequence[Change], committed: Sequence[CommittedChange]) -> None:
    """Has transitions counted, logged and told after the commit."""
    counters.changed(connection, changes)
    after_commit(connection, partial(transition_log.write, changes))
    committed_changes.note(connection, committed)


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
    connection.defer(text(ADD), added | entries(committed))
    for job in new:
        counters.submitted(connection, job)
        after_commit(connection, partial(transition_log.write_new, job))
    committed_changes.note(connection, committed)
    return written


def snapshots(connection: Connection, of: Sequence[Job], *, known: KnownRows | None = None) -> dict[str, Snapshot]:
    """Returns jobs with their public images and costs, by id."""
    known = known or KnownRows()
    with_images = [job.id for job in of if job.state in (State.COMPLETED, State.FAILED)]
    images = _rows_of(connection, with_images, known.artifacts, artifacts.of_jobs)
    ledger = _rows_of(connection, [job.id for job in of if job.may_have_calls], known.calls, calls.of_jobs)
    found = {}
    for job in of:
        staged = {artifact.image_index for artifact in images.get(job.id, ())}
        missing = images_to_retry(job, staged=staged)
        found[job.id] = Snapshot(
            job=job,
            artifacts=tuple(images[job.id]) if job.state is State.COMPLETED else (),
            cost=cost_of(ledger.get(job.id, ())),
            retry_needs_consent=job.state is State.FAILED
            and needs_consent(job, calls=ledger.get(job.id, ()), missing=missing),
        )
    return found


def _rows_of(
    connection: Connection,
    job_ids: Sequence[str],
    known: Mapping[str, Sequence[T]],
    read: Callable[[Connection, Sequence[str]], Mapping[str, Sequence[T]]],
) -> dict[str, Sequence[T]]:
    """Returns the rows of each job, which are read unless they are known."""
    found = read(connection, [job_id for job_id in job_ids if job_id not in known])
    return {job_id: known[job_id] if job_id in known else found.get(job_id, ()) for job_id in job_ids}


def _change(side: SideRows) -> str:
    ended, emptied = _ENDED if side.ends else "", _EMPTIED if side.emptied else ""
    return CHANGE.format(
        change=jobs.CHANGE_JOBS, entries=ADD_ENTRIES, ended=ended, emptied=emptied, all_changed=ALL_CHANGED
    )


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


def entries(committed: Sequence[CommittedChange]) -> dict[str, str]:
    """Returns the parameters of `ADD_ENTRIES`."""
    return {
        "events": rows.as_parameter([events.to_row(Transition(each.due.type), each.snapshot) for each in committed]),
        "messages": rows.as_parameter([outbox.to_row(each.due) for each in committed]),
    }
