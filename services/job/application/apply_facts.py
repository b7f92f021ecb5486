"""Fold facts: each settles its own calls and images, however late; it moves its job only if its fence holds."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from services.job.application import ledger, provider_limits, spending
from services.job.domain import claim_end, transitions
from services.job.domain.calls import CallOutcome, Known, ProviderCall
from services.job.domain.facts import (
    CallAccepted,
    CallSettled,
    ImagesGenerated,
    ImagesStored,
    JobFact,
    LedgerSettled,
    StageFailed,
)
from services.job.domain.failures import Code, Failure, Stage
from services.job.domain.jobs import Artifact, Job
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, calls, deletions, job_writer, jobs


@dataclass(kw_only=True)
class ApplyResult:
    """What a fold did, in counts: facts that moved their job, and those that were late or repeated."""

    moved: int = 0
    late: int = 0
    unknown: int = 0
    #: Jobs may be waiting for a place that a call has left.
    frees_slot: bool = False


@dataclass(frozen=True, kw_only=True)
class _Move:
    change: Change
    end: attempts.End | None = None
    public_names: Mapping[int, str] = field(default_factory=dict)


def apply_facts(connection: Connection, facts: Sequence[JobFact], *, limits: StageTimeouts) -> ApplyResult:
    """Fold facts in the order of the stream, in waves of at most one fact per job."""
    applied = ApplyResult()
    settled: list[calls.SettledCall] = []
    for wave in waves(facts):
        settled += _apply_wave(connection, wave, applied, limits=limits)
    spending.settle(connection, settled)
    # After the last wave: whoever holds a breaker locks no job any more.
    provider_limits.record_outcomes(connection, [outcome for fact in facts for outcome in _outcomes(fact)], settled)
    applied.frees_slot = provider_limits.frees_slot(connection, settled)
    return applied


def waves(facts: Sequence[JobFact]) -> list[list[JobFact]]:
    """Split facts so that no wave has two of one job, and each job's keep their order."""
    split: list[list[JobFact]] = []
    depth: dict[str, int] = {}
    for fact in facts:
        place = depth.get(fact.job_id, 0)
        depth[fact.job_id] = place + 1
        if place == len(split):
            split.append([])
        split[place].append(fact)
    return split


def _apply_wave(
    connection: Connection, wave: Sequence[JobFact], applied: ApplyResult, *, limits: StageTimeouts
) -> Sequence[calls.SettledCall]:
    held, now = jobs.lock(connection, [fact.job_id for fact in wave])
    applied.unknown += sum(fact.job_id not in held for fact in wave)
    known = [(fact, held[fact.job_id]) for fact in wave if fact.job_id in held]
    # A fact that moves its job no more may still change what others see of it.
    late = [(fact, job) for fact, job in known if not _may_move(fact, job)]
    before = job_writer.snapshots(connection, [job for _, job in late])
    settled = _settle_ledger(connection, wave, held)
    moving = [(fact, job) for fact, job in known if _may_move(fact, job)]
    moves = _decide_all(connection, moving, limits=limits, now=now)
    _write(connection, moves)
    news = ledger.news(connection, [_late(fact, job) for fact, job in late], before, settled, now=now)
    job_writer.write(connection, news)
    applied.moved += len(moves) + len(news)
    applied.late += len(late) - len(news)
    return settled


def _settle_ledger(connection: Connection, wave: Sequence[JobFact], held: Mapping[str, Job]) -> list[calls.SettledCall]:
    """The effect that no fence guards. Returns the calls that changed."""
    for fact in wave:
        match fact:
            case CallAccepted():
                named, state = fact.operation_id, fact.operation_state
                if not calls.accept(connection, fact.call_id, operation_id=named, state=state):
                    calls.name_operation(connection, fact.call_id, operation_id=named, state=state)
            case ImagesStored():
                job = held.get(fact.job_id)
                if job is not None and (job.state is State.CANCELED or job.deleted_at is not None):
                    # A copy that ended after the folder was emptied must not stay public.
                    deletions.add_public(connection, job.id)
    told = [(fact.job_id, known) for fact in wave if (known := _known(fact)) is not None]
    return ledger.settle(connection, told, held)


def _known(fact: JobFact) -> Known | None:
    """What the ledger learns by this fact, whatever becomes of its job."""
    match fact:
        case CallSettled():
            return Known(calls=(fact.outcome,), images=fact.images)
        case ImagesGenerated() | StageFailed() | LedgerSettled():
            return Known(calls=fact.calls, images=fact.images)
        case _:
            return None


def _outcomes(fact: JobFact) -> tuple[CallOutcome, ...]:
    """How calls ended, by this fact."""
    known = _known(fact)
    return known.calls if known else ()


def _may_move(fact: JobFact, job: Job) -> bool:
    """Whether the fact's fence holds, in a state that it is about."""
    match fact:
        case ImagesGenerated():
            return job.is_held_by(fact.fence) and job.state in AT_GENERATOR
        case ImagesStored():
            return job.is_held_by(fact.fence) and job.state is State.UPLOADING
        case StageFailed():
            return job.is_held_by(fact.fence)
        case _:
            return False


def _late(fact: JobFact, job: Job) -> ledger.LateReport:
    word = fact.provider_cancel if isinstance(fact, CallSettled) else None
    return ledger.LateReport(job=job, known=_known(fact) or Known(), word=word)


def _decide_all(
    connection: Connection, moving: Sequence[tuple[JobFact, Job]], *, limits: StageTimeouts, now: datetime
) -> list[_Move]:
    ids = [job.id for _, job in moving]
    # Later statements than the settling: they see what it wrote.
    staged = artifacts.of_jobs(connection, ids)
    left = calls.of_jobs(connection, [job.id for fact, job in moving if isinstance(fact, StageFailed)])
    return [_decide(fact, job, staged[job.id], left[job.id], limits=limits, now=now) for fact, job in moving]


def _decide(
    fact: JobFact,
    job: Job,
    staged: Sequence[Artifact],
    ledger_of_job: Sequence[ProviderCall],
    *,
    limits: StageTimeouts,
    now: datetime,
) -> _Move:
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
                calls=ledger_of_job,
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
            reason="RESULT_MISMATCH",
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


def _write(connection: Connection, moves: Sequence[_Move]) -> None:
    attempts.end(connection, [move.end for move in moves if move.end is not None])
    names = {(move.change.after.id, index): name for move in moves for index, name in move.public_names.items()}
    if names:
        artifacts.publish(connection, names)
    completed = [move.change.after.id for move in moves if move.change.after.state is State.COMPLETED]
    deletions.add_staging(connection, completed)
    job_writer.write(connection, [move.change for move in moves])
