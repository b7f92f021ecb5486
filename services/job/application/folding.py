"""Fold facts: each settles its own calls and images, however late; it moves its job only if its fence holds."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from services.job.application import routing
from services.job.domain import closing, transitions
from services.job.domain.calls import CallOutcome
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
from services.job.domain.limits import Limits
from services.job.domain.states import AT_GENERATOR, State
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, calls, deletions, erasure, jobs
from services.job.store import transitions as store


@dataclass(kw_only=True)
class Folded:
    """What a fold did, in counts: facts that moved their job, and those that were late or repeated."""

    moved: int = 0
    late: int = 0
    unknown: int = 0
    #: Jobs may be waiting for a place that a call has left.
    frees_a_place: bool = False


@dataclass(frozen=True, kw_only=True)
class _Move:
    change: Change
    end: attempts.End | None = None
    public_names: Mapping[int, str] = field(default_factory=dict)


def fold(connection: Connection, facts: Sequence[JobFact], *, limits: Limits) -> Folded:
    """Fold facts in the order of the stream, in waves of at most one fact per job."""
    folded = Folded()
    settled: list[calls.Settled] = []
    for wave in waves(facts):
        settled += _fold_wave(connection, wave, folded, limits=limits)
    # After the last wave: whoever holds a breaker locks no job any more.
    routing.learn(connection, [outcome for fact in facts for outcome in _outcomes(fact)], settled)
    folded.frees_a_place = routing.frees_a_place(connection, settled)
    return folded


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


def _fold_wave(
    connection: Connection, wave: Sequence[JobFact], folded: Folded, *, limits: Limits
) -> Sequence[calls.Settled]:
    held, now = jobs.lock(connection, [fact.job_id for fact in wave])
    settled = _settle_ledger(connection, wave, held)
    staged = artifacts.of_jobs(connection, list(held))
    moves = []
    for fact in wave:
        job = held.get(fact.job_id)
        if job is None:
            folded.unknown += 1
            continue
        if isinstance(fact, CallSettled):
            move = _settle_job(fact, job, news=fact.outcome.call_id in {one.call_id for one in settled}, now=now)
        else:
            move = _decide(fact, job, staged[job.id], limits=limits, now=now)
        if move is None:
            folded.late += 1
        else:
            moves.append(move)
    _write(connection, moves)
    folded.moved += len(moves)
    return settled


def _settle_ledger(connection: Connection, wave: Sequence[JobFact], held: Mapping[str, Job]) -> list[calls.Settled]:
    """The effect that no fence guards: nothing that was bought is forgotten. Returns the calls that changed."""
    outcomes = [outcome for fact in wave for outcome in _outcomes(fact)]
    images: list[Artifact] = []
    told: set[str] = set()
    for fact in wave:
        match fact:
            case CallAccepted():
                calls.accept(connection, fact.call_id, operation_id=fact.operation_id, state=fact.operation_state)
            case CallSettled():
                told.add(fact.job_id)
            case ImagesGenerated() | StageFailed() | LedgerSettled():
                images += fact.images
                told.add(fact.job_id)
            case ImagesStored():
                job = held.get(fact.job_id)
                if job is not None and (job.state is State.CANCELED or job.deleted_at is not None):
                    # A copy that ended after the folder was emptied must not stay public.
                    deletions.add_public(connection, job.id)
    settled = calls.settle(connection, outcomes)
    if deleted := [job_id for job_id in told if job_id in held and held[job_id].deleted_at is not None]:
        erasure.erase_vendors_words(connection, deleted)
    wanted = [image for image in images if _is_wanted(image, held)]
    artifacts.stage(connection, wanted)
    # What comes for a job that is over is not shown to anybody; its bytes must not stay behind.
    deletions.add_staging(connection, {job_id for job_id in told if job_id in held and _is_over(held[job_id])})
    return settled


def _outcomes(fact: JobFact) -> tuple[CallOutcome, ...]:
    """How calls ended, by this fact."""
    match fact:
        case CallSettled():
            return (fact.outcome,)
        case ImagesGenerated() | StageFailed() | LedgerSettled():
            return fact.calls
        case _:
            return ()


def _is_wanted(image: Artifact, held: Mapping[str, Job]) -> bool:
    job = held.get(image.job_id)
    return job is not None and not _is_over(job) and image.image_index < job.image_count


def _is_over(job: Job) -> bool:
    """Whether no retry can ask for its staged images any more."""
    return job.state in (State.COMPLETED, State.CANCELED) or job.deleted_at is not None


def _decide(fact: JobFact, job: Job, staged: Sequence[Artifact], *, limits: Limits, now: datetime) -> _Move | None:
    match fact:
        case ImagesGenerated() if job.is_held_by(fact.fence) and job.state in AT_GENERATOR:
            indexes = {image.image_index for image in staged}
            change = closing.close_generating(job, staged=indexes, warnings=fact.warnings, now=now)
            return _Move(change=change, end=_end(job, change))
        case ImagesStored() if job.is_held_by(fact.fence) and job.state is State.UPLOADING:
            return _store_images(fact, job, staged, now=now)
        case StageFailed() if job.is_held_by(fact.fence):
            change = closing.end_of_claim(
                job,
                fact.failure,
                staged={image.image_index for image in staged},
                deferred=fact.deferred,
                max_attempts=limits.max_attempts,
                jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
                now=now,
            )
            return _Move(change=change, end=_end(job, change, failure=fact.failure, counted=not fact.deferred))
        case _:
            return None


def _settle_job(fact: CallSettled, job: Job, *, news: bool, now: datetime) -> _Move | None:
    """A final job tells what became of a call, once; a deleted one tells nothing."""
    word = fact.provider_cancel
    news = news or (word is not None and job.provider_cancel not in (None, word))
    if not news or not job.is_final or job.deleted_at is not None:
        return None
    return _Move(change=transitions.settle(job, outcome=word, now=now))


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
    return _Move(change=change, end=_end(job, change), public_names=fact.names)


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
    store.write(connection, [move.change for move in moves])
