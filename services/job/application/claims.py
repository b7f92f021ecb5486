"""Claims jobs for workers: each job for one worker; a repeated claim with the same tokens returns the same jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application import claim_choice, provider_limits
from services.job.domain import transitions
from services.job.domain.calls import ProviderCall, may_pay_again
from services.job.domain.circuit_breakers import Route
from services.job.domain.failures import Stage
from services.job.domain.jobs import Artifact, Attempt, Fence, Job
from services.job.domain.pauses import Pauses
from services.job.domain.refusals import Refusal
from services.job.domain.routing import ClaimCapacity, candidate_routes
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.store import (
    artifacts,
    breakers,
    calls,
    claim_facts,
    claim_locks,
    claim_writer,
    due_jobs,
    jobs,
    lane_loads,
    lanes,
    settlements,
)
from services.job.store.due_jobs import JobsToClaim
from services.job.store.lanes import Lane

#: Lease tokens of one claim.
MAX_TOKENS = 64
#: Leases of one renewal.
MAX_RENEWALS = 256


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A job held by a worker, with its calls and images from earlier claims."""

    #: The job under its new lease.
    job: Job
    #: All calls of the job, oldest first.
    calls: Sequence[ProviderCall]
    #: Staged images, by index.
    images: Sequence[Artifact]
    #: Routes to try, in order; empty for an upload.
    routes: Sequence[Route] = ()

    @property
    def may_pay_again(self) -> bool:
        """Whether there is consent to repeat a call whose outcome is unknown."""
        return may_pay_again(self.job, calls=self.calls, staged={image.image_index for image in self.images})


def claim_jobs(
    connection: Connection, *, worker: str, tokens: Sequence[UUID], providers: Sequence[str], limits: StageTimeouts
) -> list[Claimed]:
    """Claims due jobs for a generator, at most one per token; none that a pause holds.

    Raises `Refusal` INVALID_INPUT for invalid tokens.
    """

    def claim_under(known: Pauses) -> Callable[[Job, UUID, datetime], Change]:
        return lambda job, token, now: transitions.claim(
            job,
            worker=worker,
            token=token,
            lease_seconds=limits.lease_seconds,
            held_until=known.held_until(job),
            now=now,
        )

    _check_tokens(tokens)
    is_shared = claim_locks.begin_claim(connection, tokens)
    facts = claim_facts.read(connection, tokens=tokens, served_by=providers)
    held = _with_ledger(connection, _renew_held(connection, facts.used, limits=limits))
    fresh = _unused(tokens, facts.used)
    # Fetching a result buys nothing, so such jobs come first, without the lock and in spite of pauses; the worker
    # claims again by itself.
    if fresh and facts.has_results_to_fetch:
        due = due_jobs.lock_jobs_to_follow(connection, limit=len(fresh), served_by=providers)
        followed, _ = _claim(connection, due, fresh, claim_under(facts.pauses), stage=Stage.GENERATING)
        if followed:
            return _with_routes(held + followed, provider_limits.capacity(connection, facts))
    if fresh and not is_shared:
        claim_locks.share_claiming(connection)
        facts = claim_facts.read(connection, tokens=fresh, served_by=providers)
    if not fresh or facts.pauses.is_queue_paused or not (facts.has_lanes or facts.has_lanes_to_wake):
        return _with_routes(held, provider_limits.capacity(connection, facts))
    capacity = provider_limits.capacity(connection, facts, claiming=providers)
    due, seen = claim_choice.choose(connection, facts, capacity, limit=len(fresh), served_by=providers)
    lanes.remove_doubles(connection, seen)
    claimed, idle = _claim(connection, due, fresh, claim_under(facts.pauses), stage=Stage.GENERATING, seen=seen)
    _record_probes(connection, [one.job for one in claimed], capacity, limits=limits)
    lane_loads.remember(connection, seen, [one.job.tenant for one in claimed], idle=idle)
    return _with_routes(held + claimed, capacity)


def claim_uploads(
    connection: Connection, *, worker: str, tokens: Sequence[UUID], limits: StageTimeouts
) -> list[Claimed]:
    """Claims jobs for an uploader, at most one per token. Raises `Refusal` INVALID_INPUT for invalid tokens."""

    def decide(job: Job, token: UUID, now: datetime) -> Change:
        return transitions.claim_upload(job, worker=worker, token=token, lease_seconds=limits.lease_seconds, now=now)

    _check_tokens(tokens)
    claim_locks.lock_tokens(connection, tokens)
    used, due = due_jobs.lock_due_uploads(connection, tokens)
    held = _with_ledger(connection, _renew_held(connection, used, limits=limits))
    fresh = _unused(tokens, used)
    if used and fresh:
        _, due = due_jobs.lock_due_uploads(connection, fresh)
    claimed, _ = _claim(connection, due, fresh, decide, stage=Stage.UPLOADING)
    return held + claimed


def renew_leases(connection: Connection, fences: Sequence[Fence], *, limits: StageTimeouts) -> list[tuple[str, str]]:
    """Renews leases; returns (token, outcome) in the given order, with outcome `renewed`, `lost` or `canceled`.

    Raises `Refusal` TOO_LARGE.
    """
    _refuse_too_many(fences)
    renewed = due_jobs.renew(connection, fences, seconds=limits.lease_seconds)
    lost = [fence.job_id for fence in fences if str(fence.lease_token) not in renewed]
    canceled = due_jobs.canceled_among(connection, lost)

    def outcome(fence: Fence) -> str:
        if str(fence.lease_token) in renewed:
            return "renewed"
        return "canceled" if fence.job_id in canceled else "lost"

    return [(str(fence.lease_token), outcome(fence)) for fence in fences]


def renew_settlements(
    connection: Connection, tokens: Sequence[UUID], *, limits: StageTimeouts
) -> list[tuple[str, str]]:
    """Renews settlements; returns (token, outcome) in the given order, with outcome `renewed` or `lost`.

    Raises `Refusal` TOO_LARGE.
    """
    _refuse_too_many(tokens)
    renewed = settlements.renew(connection, tokens, seconds=limits.lease_seconds) if tokens else set()
    return [(str(token), "renewed" if str(token) in renewed else "lost") for token in tokens]


def _refuse_too_many(leases: Sequence[object]) -> None:
    if len(leases) > MAX_RENEWALS:
        raise Refusal(Reason.TOO_LARGE, f"At most {MAX_RENEWALS} leases in one renewal.")


def _record_probes(
    connection: Connection, claimed: Sequence[Job], capacity: ClaimCapacity, *, limits: StageTimeouts
) -> None:
    """Records jobs whose first route has an open breaker as its probe."""
    probed = {breaker.route for breaker in capacity.probes()}
    for job in claimed:
        for route in capacity.routes(job)[:1]:
            if route in probed:
                longest = capacity.catalogue[route.provider].timeout_seconds + limits.lease_seconds
                breakers.probe(connection, route, by=job, seconds=longest)


def _check_tokens(tokens: Sequence[UUID]) -> None:
    if not 1 <= len(tokens) <= MAX_TOKENS or len(set(tokens)) != len(tokens):
        raise Refusal(Reason.INVALID_INPUT, f"Send 1 to {MAX_TOKENS} different lease tokens.")


def _renew_held(connection: Connection, used: Sequence[Fence], *, limits: StageTimeouts) -> list[Job]:
    """Renews those of these claims that still hold their jobs, and returns the jobs."""
    renewed = due_jobs.renew(connection, used, seconds=limits.lease_seconds) if used else set()
    held = [fence.job_id for fence in used if str(fence.lease_token) in renewed]
    return jobs.get_many(connection, held) if held else []


def _unused(tokens: Sequence[UUID], used: Sequence[Fence]) -> list[UUID]:
    known = {fence.lease_token for fence in used}
    return [token for token in tokens if token not in known]


def _claim(
    connection: Connection,
    due: JobsToClaim,
    tokens: Sequence[UUID],
    decide: Callable[[Job, UUID, datetime], Change],
    *,
    stage: Stage,
    seen: Sequence[Lane] = (),
) -> tuple[list[Claimed], list[int]]:
    """Claims locked jobs; returns them, and the ids of those of the lanes `seen` that have no further due jobs."""
    if due.now is None:
        return [], lanes.lock_idle(connection, seen)
    changes = [decide(job, token, due.now) for job, token in zip(due.jobs, tokens, strict=False)]
    claimed = _with_ledger(connection, [change.after for change in changes])
    idle = claim_writer.write(
        connection,
        changes,
        [_attempt(change.after, stage) for change in changes],
        calls={one.job.id: one.calls for one in claimed},
        seen=seen,
    )
    return claimed, idle


def _attempt(job: Job, stage: Stage) -> Attempt:
    assert job.lease is not None
    return Attempt(
        job_id=job.id,
        claim_number=job.claim_number,
        lease_token=job.lease.token,
        stage=stage,
        worker=job.lease.worker,
        started_at=job.lease.locked_at,
        counted=stage is Stage.GENERATING,
    )


def _with_routes(held: Sequence[Claimed], capacity: ClaimCapacity) -> list[Claimed]:
    # A job to follow may have no open route: it gets its own.
    return [
        replace(
            claimed, routes=capacity.routes(claimed.job) or [next(candidate_routes(claimed.job, capacity.catalogue))]
        )
        for claimed in held
    ]


def _with_ledger(connection: Connection, held: Sequence[Job]) -> list[Claimed]:
    # In statements after the jobs' locks: they see the calls that were settled while a lock was waited for.
    ids = [job.id for job in held if job.may_have_calls]
    ledger, images = calls.of_jobs(connection, ids), artifacts.of_jobs(connection, ids)
    return [Claimed(job=job, calls=ledger[job.id], images=images[job.id]) for job in held]
