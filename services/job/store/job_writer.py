"""Writes transitions: job, event and outbox row in one transaction."""

from collections.abc import Sequence
from functools import partial

from common.after_commit import after_commit
from common.ids import new_uuid7
from common.sql import Connection
from services.job import counters
from services.job.domain.calls import cost_of, needs_consent
from services.job.domain.claim_end import images_to_retry
from services.job.domain.jobs import Job, Snapshot
from services.job.domain.states import State, Transition
from services.job.domain.transitions import Change
from services.job.store import artifacts, calls, events, jobs, outbox, transition_log


def write(connection: Connection, changes: Sequence[Change]) -> dict[str, Snapshot]:
    """Applies transitions of locked jobs, and adds their events and outbox rows.

    Call it after everything else that the transaction writes about the jobs, so that the events contain it.
    Returns the changed jobs by id.
    """
    if not changes:
        return {}
    jobs.apply(connection, changes)
    counters.changed(connection, changes)
    written = snapshots(connection, [change.after for change in changes])
    _add_events(connection, [(change.transition, written[change.after.id], change.wake) for change in changes])
    after_commit(connection, partial(transition_log.write, changes))
    return written


def write_new(connection: Connection, job: Job) -> Snapshot:
    """Inserts a new job with its first event."""
    jobs.add(connection, job)
    counters.submitted(connection, job)
    snapshot = snapshots(connection, [job])[job.id]
    _add_events(connection, [(Transition.SUBMIT, snapshot, "generate")])
    after_commit(connection, partial(transition_log.write_new, job))
    return snapshot


def write_batch(connection: Connection, new: Sequence[Job]) -> dict[str, Snapshot]:
    """Inserts new jobs with their first events; returns them by id."""
    if not new:
        return {}
    jobs.add(connection, *new)
    # A new job has neither images nor calls.
    written = {job.id: Snapshot(job=job, artifacts=(), cost=cost_of(())) for job in new}
    _add_events(connection, [(Transition.SUBMIT, snapshot, "generate") for snapshot in written.values()])
    for job in new:
        counters.submitted(connection, job)
        after_commit(connection, partial(transition_log.write_new, job))
    return written


def snapshots(connection: Connection, of: Sequence[Job]) -> dict[str, Snapshot]:
    """Returns jobs with their public images and costs, by id."""
    ids = [job.id for job in of]
    images, ledger = artifacts.of_jobs(connection, ids), calls.of_jobs(connection, ids)
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


def _add_events(connection: Connection, changes: Sequence[tuple[Transition, Snapshot, str | None]]) -> None:
    events.append(connection, [(transition, snapshot) for transition, snapshot, _ in changes])
    outbox.add(
        connection,
        [
            outbox.OutboxMessage(
                id=new_uuid7(),
                job_id=snapshot.job.id,
                sequence=snapshot.job.sequence,
                wake=wake,
                traceparent=snapshot.job.traceparent,
            )
            for _, snapshot, wake in changes
        ],
    )
