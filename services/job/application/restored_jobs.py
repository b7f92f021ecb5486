"""Prepares a database that was restored from a backup, before a service starts: see `domain.forgotten_calls`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from common.ids import new_uuid7, prefixed
from common.sql import Connection
from services.job.domain import claim_end, transitions
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.forgotten_calls import forgotten_calls, surely_ended, with_id
from services.job.domain.jobs import Job
from services.job.domain.providers import Provider
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, calls, job_writer, jobs, providers, restored_jobs

#: Jobs of one transaction.
PAGE = 200
#: Name under which job-service is connected.
JOB_SERVICE = "calotype-job"


@dataclass(frozen=True, kw_only=True)
class RestoredPage:
    """Jobs of one transaction, and what the ledger assumes of them."""

    #: Jobs that wait or were at a generator, and may have been bought since the backup.
    open_jobs: int = 0
    #: Failed jobs that may have been retried, and bought, since the backup.
    failed_jobs: int = 0
    #: Calls that were added to the ledger.
    calls: int = 0
    #: Of these, calls that have objects in staging.
    found: int = 0

    def plus(self, other: "RestoredPage") -> "RestoredPage":
        """Returns the sums of both."""
        return RestoredPage(
            open_jobs=self.open_jobs + other.open_jobs,
            failed_jobs=self.failed_jobs + other.failed_jobs,
            calls=self.calls + other.calls,
            found=self.found + other.found,
        )


@dataclass(frozen=True, kw_only=True)
class _Assumption:
    """One job, with what may have been done for it since the backup."""

    #: The locked job.
    job: Job
    #: Calls to settle as unknown.
    ended: Sequence[ProviderCall]
    #: Calls to add.
    forgotten: Sequence[ProviderCall]


def is_in_use(connection: Connection) -> bool:
    """Whether a job-service is connected to the database."""
    return restored_jobs.sessions(connection, JOB_SERVICE) > 0


def next_ids(connection: Connection, after: str) -> list[str]:
    """Returns the jobs of the next page, by the last id of the page before, or ""; empty at the end."""
    return restored_jobs.ids_after(connection, after, limit=PAGE)


def assume_calls(
    connection: Connection, ids: Sequence[str], found: Mapping[str, Sequence[str]], *, is_preview: bool = False
) -> RestoredPage:
    """Writes the calls that jobs may have had since the backup into the ledger; a repetition adds none.

    `found` has ids of calls that have objects in staging, by job id. Jobs that a generator held are put back. A job
    that is claimed afterwards follows its operation or finds its image in staging; otherwise it fails with
    AMBIGUOUS_OUTCOME. `is_preview` writes nothing.
    """
    locked, now = jobs.lock(connection, ids)
    ledger, images = calls.of_jobs(connection, ids), artifacts.of_jobs(connection, ids)
    catalogue = providers.catalogue(connection)
    assumed = []
    for job in locked.values():
        if _is_free(job, catalogue):
            continue
        missing = claim_end.images_to_retry(job, staged={image.image_index for image in images[job.id]})
        ended = surely_ended(ledger[job.id])
        known = [replace(call, phase=CallPhase.UNKNOWN) if call in ended else call for call in ledger[job.id]]
        new = forgotten_calls(job, calls=known, missing=missing, found=found.get(job.id, ()), now=now)
        if new or ended:
            forgotten = [with_id(call, prefixed("call", new_uuid7())) for call in new]
            assumed.append(_Assumption(job=job, ended=ended, forgotten=forgotten))
    if not is_preview:
        _write(connection, assumed, now)
    forgotten = [call for each in assumed for call in each.forgotten]
    failed = sum(each.job.state is State.FAILED for each in assumed)
    named = {call_id for ids in found.values() for call_id in ids}
    return RestoredPage(
        open_jobs=len(assumed) - failed,
        failed_jobs=failed,
        calls=len(forgotten),
        found=sum(call.id in named for call in forgotten),
    )


def _is_free(job: Job, catalogue: Mapping[str, Provider]) -> bool:
    """Whether each provider that may have served the job takes nothing for a call."""
    names = (job.provider, *job.fallback)
    if not all(name in catalogue for name in names):
        return False
    models = [job.model, *(catalogue[name].default_model for name in job.fallback)]
    return all(catalogue[name].as_model(model).capabilities.free for name, model in zip(names, models, strict=True))


def _write(connection: Connection, assumed: Sequence[_Assumption], now: datetime) -> None:
    calls.settle(
        connection,
        [
            CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN, is_over=True)
            for each in assumed
            for call in each.ended
        ],
    )
    restored_jobs.add_calls(connection, [call for each in assumed for call in each.forgotten])
    held = [each.job for each in assumed if each.job.lease is not None]
    attempts.end(
        connection,
        [
            attempts.End(
                job_id=job.id,
                claim_number=job.claim_number,
                outcome="rescued",
                failure=transitions.lease_ran_out(job),
                counted=False,
            )
            for job in held
        ],
    )
    job_writer.write(connection, [_change(each.job, now) for each in assumed])


def _change(job: Job, now: datetime) -> Change:
    """Puts a job back that a generator held; of others, clients see that a retry needs consent.

    The claim number stands for the claims since the backup: a fence of them, or of a worker that outlived the restore,
    moves nothing.
    """
    if job.state in AT_GENERATOR:
        change = transitions.requeue(job, delay_seconds=0, counts=job.failure_counts, counted=False, now=now)
    else:
        change = transitions.settle(job, outcome=None, now=now)
    # The time since the backup is no time in the queue.
    queued_at = now if job.state is State.QUEUED else change.after.queued_at
    return replace(change, after=replace(change.after, claim_number=job.claim_number + 1, queued_at=queued_at))
