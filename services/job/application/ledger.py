"""Write down what workers know of calls and images: no fence guards it, so nothing that was bought is forgotten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from services.job.application import provider_cancel
from services.job.domain import transitions
from services.job.domain.calls import Known, Phase
from services.job.domain.jobs import Fence, Job, ProviderCancel, Snapshot
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, calls, deletions, erasure, job_writer


def settle(
    connection: Connection, told: Sequence[tuple[str, Known]], held: Mapping[str, Job]
) -> list[calls.SettledCall]:
    """Settle calls and stage images of locked jobs, by job id; returns the calls that changed.

    What comes for a job that is over is shown to nobody: its bytes must not stay behind, nor a vendor's words.
    """
    settled = calls.settle(connection, [outcome for _, known in told for outcome in known.calls])
    jobs = [held[job_id] for job_id, _ in told if job_id in held]
    if deleted := [job.id for job in jobs if job.deleted_at is not None]:
        erasure.erase_provider_messages(connection, deleted)
    images = [image for job_id, known in told if job_id in held for image in known.images]
    artifacts.stage(connection, [image for image in images if held[image.job_id].wants(image)])
    deletions.add_staging(connection, {job.id for job in jobs if job.is_over})
    return settled


def own(connection: Connection, fence: Fence, known: Known) -> Known:
    """Of what an asker knows that which it can know: calls of its job, and of its own claim that they never left.

    Who shows no claim of a generator, present or past, can know nothing.
    """
    if not (known.calls or known.images) or not attempts.generators_claims(connection, [fence]):
        return Known()
    claims = {call.id: call.claim_number for call in calls.of_jobs(connection, [fence.job_id])[fence.job_id]}
    mine = {call_id for call_id, claim in claims.items() if claim == fence.claim_number}
    return Known(
        calls=tuple(one for one in known.calls if one.call_id in (mine if one.phase is Phase.NOT_SENT else claims)),
        images=tuple(image for image in known.images if image.call_id in claims),
    )


@dataclass(frozen=True, kw_only=True)
class LateReport:
    """What was told of a job that it does not move; `word` is what became of the wish to cancel, if that was told."""

    job: Job
    known: Known = field(default_factory=Known)
    word: ProviderCancel | None = None


def news(
    connection: Connection,
    told: Sequence[LateReport],
    before: Mapping[str, Snapshot],
    settled: Sequence[calls.SettledCall],
    *,
    now: datetime,
) -> list[Change]:
    """A change for each job that others see otherwise than before, although no transition moves it.

    So what a client sees is a function of the job and its sequence. A final job tells of every call that ended, a
    canceled one what became of the wish to cancel; a deleted one tells nothing.
    """
    told = [late for late in told if late.job.deleted_at is None]
    jobs = [late.job for late in told]
    after, wishes = job_writer.snapshots(connection, jobs), provider_cancel.cancels_ended(connection, jobs)
    changed = {one.call_id for one in settled}
    changes = []
    for late in told:
        job, word = late.job, late.word or wishes.get(late.job.id)
        is_news = after[job.id] != before[job.id]
        is_news |= word is not None and job.provider_cancel not in (None, word)
        is_news |= job.is_final and any(outcome.call_id in changed for outcome in late.known.calls)
        if is_news:
            changes.append(transitions.settle(job, outcome=word, now=now))
    return changes
