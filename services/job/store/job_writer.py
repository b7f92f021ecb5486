"""Writes transitions: job, event and outbox row in one transaction, or none of them."""

from collections.abc import Sequence

from sqlalchemy import Connection

from common.ids import new_uuid7
from services.job.domain.calls import cost_of, needs_consent
from services.job.domain.claim_end import images_to_retry
from services.job.domain.jobs import Job, Snapshot
from services.job.domain.states import State, Transition
from services.job.domain.transitions import Change
from services.job.store import artifacts, calls, events, jobs, outbox


def write(connection: Connection, changes: Sequence[Change]) -> dict[str, Snapshot]:
    """Apply transitions of locked jobs, append their events, and put both on the way out.

    Call it after everything else that the transaction writes about the jobs, so that the events show it.
    Returns each job as it is now, by id.
    """
    if not changes:
        return {}
    jobs.apply(connection, changes)
    seen = snapshots(connection, [change.after for change in changes])
    _tell(connection, [(change.transition, seen[change.after.id], change.wake) for change in changes])
    return seen


def write_new(connection: Connection, job: Job) -> Snapshot:
    """Insert a new job with its first event."""
    jobs.add(connection, job)
    seen = snapshots(connection, [job])[job.id]
    _tell(connection, [(Transition.SUBMIT, seen, "generate")])
    return seen


def snapshots(connection: Connection, of: Sequence[Job]) -> dict[str, Snapshot]:
    """Jobs with their images and costs, by id."""
    ids = [job.id for job in of]
    images, ledger = artifacts.of_jobs(connection, ids), calls.of_jobs(connection, ids)
    found = {}
    for job in of:
        staged = {artifact.image_index for artifact in images[job.id]}
        wanted = images_to_retry(job, staged=staged)
        found[job.id] = Snapshot(
            job=job,
            artifacts=tuple(images[job.id]) if job.state is State.COMPLETED else (),
            cost=cost_of(ledger[job.id]),
            retry_needs_consent=job.state is State.FAILED and needs_consent(job, calls=ledger[job.id], missing=wanted),
        )
    return found


def _tell(connection: Connection, changes: Sequence[tuple[Transition, Snapshot, str | None]]) -> None:
    events.append(connection, [(transition, seen) for transition, seen, _ in changes])
    outbox.add(
        connection,
        [
            outbox.OutboxMessage(
                id=new_uuid7(),
                job_id=seen.job.id,
                sequence=seen.job.sequence,
                wake=wake,
                traceparent=seen.job.traceparent,
            )
            for _, seen, wake in changes
        ],
    )
