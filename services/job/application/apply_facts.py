"""Applies facts: each settles its calls and images, however late; it changes its job only while its claim is held."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from calotype.error_reasons import Code, Reason

from common.sql import Connection
from services.job import counters
from services.job.application import ledger, provider_limits, spending
from services.job.domain import claim_end, transitions
from services.job.domain.calls import CallOutcome, WorkerReport
from services.job.domain.facts import (
    CallAccepted,
    CallSettled,
    ImagesGenerated,
    ImagesStored,
    JobFact,
    LedgerSettled,
    StageFailed,
)
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Artifact, Job
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, calls, deletions, job_writer, jobs


@dataclass(kw_only=True)
class ApplyResult:
    """Numbers of applied facts."""

    #: Facts that changed their job.
    moved: int = 0
    #: Facts that were late or repeated, and changed nothing that clients see.
    late: int = 0
    #: Facts of jobs without a row.
    unknown: int = 0
    #: Whether a provider's slot was freed, for which jobs may wait.
    frees_slot: bool = False


@dataclass(frozen=True, kw_only=True)
class _Move:
    """A change of a job with the rows that are written beside it."""

    #: The transition.
    change: Change
    #: End of the attempt; None for none.
    end: attempts.End | None = None
    #: Public object names to record, by image index.
    public_names: Mapping[int, str] = field(default_factory=dict)


def apply_facts(
    connection: Connection, facts: Sequence[JobFact], *, limits: StageTimeouts, locked: jobs.LockedJobs | None = None
) -> ApplyResult:
    """Applies facts in their order, in waves of at most one fact per job.

    `locked` are all of their jobs that exist, if the transaction has locked them and changed none; None locks them.
    """
    applied = ApplyResult()
    settled: list[calls.SettledCall] = []
    for wave in waves(facts):
        locked = locked or jobs.lock(connection, [fact.job_id for fact in wave])
        settled += _apply_wave(connection, wave, locked, applied, limits=limits)
        locked = None
    spending.settle(connection, settled)
    # After the last wave: a transaction that has locked a breaker must lock no job.
    provider_limits.record_outcomes(connection, [outcome for fact in facts for outcome in _outcomes(fact)], settled)
    applied.frees_slot = provider_limits.frees_slot(settled)
    counts = {"moved": applied.moved, "late": applied.late, "unknown": applied.unknown}
    counters.facts_applied(connection, counts)
    return applied


def waves(facts: Sequence[JobFact]) -> list[list[JobFact]]:
    """Splits facts so that no wave has two facts of one job, and each job's facts keep their order."""
    split: list[list[JobFact]] = []
    counts: dict[str, int] = {}
    for fact in facts:
        wave = counts.get(fact.job_id, 0)
        counts[fact.job_id] = wave + 1
        if wave == len(split):
            split.append([])
        split[wave].append(fact)
    return split


def _apply_wave(
    connection: Connection,
    wave: Sequence[JobFact],
    held: jobs.LockedJobs,
    applied: ApplyResult,
    *,
    limits: StageTimeouts,
) -> Sequence[calls.SettledCall]:
    locked, now = held
    applied.unknown += sum(fact.job_id not in locked for fact in wave)
    of_jobs = [(fact, locked[fact.job_id]) for fact in wave if fact.job_id in locked]
    # A fact that cannot change its job's state may still change what clients see.
    late = [(fact, job) for fact, job in of_jobs if not _may_move(fact, job)]
    before = job_writer.snapshots(connection, [job for _, job in late])
    change = _settle_ledger(connection, wave, locked)
    moving = [(fact, job) for fact, job in of_jobs if _may_move(fact, job)]
    known = _rows_of(connection, moving, change.staged)
    moves = [_decide(fact, job, known, limits=limits, now=now) for fact, job in moving]
    _write(connection, moves, known)
    reports = [_late_report(fact, job) for fact, job in late]
    visible = ledger.visible_changes(connection, reports, before, change.calls, now=now)
    job_writer.write(connection, visible)
    applied.moved += len(moves) + len(visible)
    applied.late += len(late) - len(visible)
    return change.calls


def _settle_ledger(connection: Connection, wave: Sequence[JobFact], locked: Mapping[str, Job]) -> ledger.LedgerChange:
    """Writes what facts say about calls and images, which needs no valid claim. Returns what changed."""
    for fact in wave:
        match fact:
            case CallAccepted():
                operation, state = fact.operation_id, fact.operation_state
                if not calls.accept(connection, fact.call_id, operation_id=operation, state=state):
                    calls.name_operation(connection, fact.call_id, operation_id=operation, state=state)
            case ImagesStored():
                job = locked.get(fact.job_id)
                if job is not None and (job.state is State.CANCELED or job.deleted_at is not None):
                    # A copy that ended after the folder was emptied must not stay public.
                    deletions.add_public(connection, job.id)
    reports = [(fact.job_id, report) for fact in wave if (report := _report_of(fact)) is not None]
    return ledger.settle(connection, reports, locked)


def _report_of(fact: JobFact) -> WorkerReport | None:
    """Returns the fact's report on calls and images; None for a fact without one."""
    match fact:
        case CallSettled():
            return WorkerReport(calls=(fact.outcome,), images=fact.images)
        case ImagesGenerated() | StageFailed() | LedgerSettled():
            return WorkerReport(calls=fact.calls, images=fact.images)
        case _:
            return None


def _outcomes(fact: JobFact) -> tuple[CallOutcome, ...]:
    """Returns the ends of calls that the fact reports."""
    report = _report_of(fact)
    return report.calls if report else ()


def _may_move(fact: JobFact, job: Job) -> bool:
    """Whether the fact's claim is held, in a state that such a fact can end."""
    match fact:
        case ImagesGenerated():
            return job.is_held_by(fact.fence) and job.state in AT_GENERATOR
        case ImagesStored():
            return job.is_held_by(fact.fence) and job.state is State.UPLOADING
        case StageFailed():
            return job.is_held_by(fact.fence)
        case _:
            return False


def _late_report(fact: JobFact, job: Job) -> ledger.LateReport:
    outcome = fact.provider_cancel if isinstance(fact, CallSettled) else None
    return ledger.LateReport(job=job, report=_report_of(fact) or WorkerReport(), provider_cancel=outcome)


def _rows_of(
    connection: Connection, moving: Sequence[tuple[JobFact, Job]], staged: Mapping[str, Sequence[Artifact]]
) -> job_writer.KnownRows:
    """Returns all images and calls of the jobs that change; `staged` are known images by job id."""
    ids = [job.id for _, job in moving]
    # In statements after the ledger was written: they see the new rows.
    images = artifacts.of_jobs(connection, [job_id for job_id in ids if job_id not in staged])
    ledgers = calls.of_jobs(connection, ids)
    return job_writer.KnownRows(
        artifacts={job_id: staged[job_id] if job_id in staged else images[job_id] for job_id in ids},
        calls={job_id: ledgers[job_id] for job_id in ids},
    )


def _decide(fact: JobFact, job: Job, known: job_writer.KnownRows, *, limits: StageTimeouts, now: datetime) -> _Move:
    staged = known.artifacts[job.id]
    match fact:
        case ImagesGenerated():
            indexes = {image.image_index for image in staged}
            change = claim_end.close_generating(job, staged=indexes, warnings=fact.warnings, now=now)
            return _Move(change=change, end=_end(job, change))
        case ImagesStored():
            return _store_images(fact, job, staged, now=now)
        case StageFailed():
            change = claim_end.end_of_claim(
                job,
                fact.failure,
                calls=known.calls[job.id],
                staged={image.image_index for image in staged},
                deferred=fact.deferred,
                max_attempts=limits.max_attempts,
                jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
                now=now,
            )
            return _Move(change=change, end=_end(job, change, failure=fact.failure, counted=not fact.deferred))
        case _:
            raise AssertionError(f"{type(fact).__name__} moves no job")


def _store_images(fact: ImagesStored, job: Job, staged: Sequence[Artifact], *, now: datetime) -> _Move:
    missing = {image.image_index for image in staged} - set(fact.names)
    if missing:
        failure = Failure(
            stage=Stage.PERSISTING,
            code=Code.PERMANENT,
            reason=Reason.RESULT_MISMATCH,
            message=f"The uploader did not store image {min(missing)}.",
            retryable=False,
        )
        change = transitions.fail(job, failure, now=now)
        return _Move(change=change, end=_end(job, change, failure=failure))
    change = transitions.stored(job, now=now)
    return _Move(
        change=change,
        end=_end(job, change),
        public_names={image.image_index: image.own_public_name for image in staged},
    )


def _end(job: Job, change: Change, *, failure: Failure | None = None, counted: bool = True) -> attempts.End:
    outcomes = {State.QUEUED: "requeued", State.FAILED: "failed", State.COMPLETED: "succeeded"}
    succeeded = failure is None and change.after.state is not State.FAILED
    retried = change.after.state is State.UPLOADING and job.state is State.UPLOADING
    outcome = "succeeded" if succeeded else "requeued" if retried else outcomes.get(change.after.state, "failed")
    return attempts.End(
        job_id=job.id,
        claim_number=job.claim_number,
        outcome=outcome,
        failure=failure or (change.after.failure if not succeeded else None),
        counted=counted and job.state is not State.UPLOADING,
    )


def _write(connection: Connection, moves: Sequence[_Move], known: job_writer.KnownRows) -> None:
    names = {(move.change.after.id, index): name for move in moves for index, name in move.public_names.items()}
    public = {(image.job_id, image.image_index): image for image in artifacts.publish(connection, names)}
    images = {
        job_id: [public.get((job_id, image.image_index), image) for image in staged]
        for job_id, staged in known.artifacts.items()
    }
    side = job_writer.SideRows(
        ends=[move.end for move in moves if move.end is not None],
        emptied=[move.change.after.id for move in moves if move.change.after.state is State.COMPLETED],
    )
    job_writer.write(connection, [move.change for move in moves], known=replace(known, artifacts=images), side=side)
