"""Hand out work: each job to one worker, and the same jobs again to whoever asks again with the same tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from services.job.application import provider_limits
from services.job.domain import transitions
from services.job.domain.calls import ProviderCall, may_pay_again
from services.job.domain.circuit_breakers import Route
from services.job.domain.failures import Stage
from services.job.domain.jobs import Artifact, Attempt, Fence, Job
from services.job.domain.refusals import Refusal
from services.job.domain.routing import ClaimCapacity, candidate_routes
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.store import artifacts, attempts, breakers, calls, due_jobs, job_writer, jobs, lanes, settlements
from services.job.store.lanes import Lane

MOST_AT_ONCE = 64
MAX_RENEWALS = 256
#: Tenants that are looked at beyond one for each job: some jobs may be locked, and some lanes be empty.
SPARE_TENANTS = 16
#: Looks of one claim, each at four times as many lanes, while those that it saw were empty.
MAX_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A job in a worker's hands, with all that earlier claims left of it."""

    job: Job
    calls: Sequence[ProviderCall]
    images: Sequence[Artifact]
    #: Where it may go, in order; empty for an upload.
    routes: Sequence[Route] = ()

    @property
    def may_pay_again(self) -> bool:
        """Whether somebody consented to repeat a call whose outcome is unknown."""
        return may_pay_again(self.job, calls=self.calls, staged={image.image_index for image in self.images})


def claim_jobs(
    connection: Connection, *, worker: str, tokens: Sequence[UUID], providers: Sequence[str], limits: StageTimeouts
) -> list[Claimed]:
    """Give a generator at most as many due jobs as it sent tokens."""

    def decide(job: Job, token: UUID, now: datetime) -> Change:
        return transitions.claim(job, worker=worker, token=token, lease_seconds=limits.lease_seconds, now=now)

    held, fresh = _sort_tokens(connection, tokens, limits=limits)
    # Fetching buys nothing, so it goes first and waits for no turn; who is given some asks for more by itself.
    due = due_jobs.lock_jobs_to_follow(connection, most=len(fresh), mine=providers) if fresh else []
    if followed := _take(connection, due, fresh, decide, stage=Stage.GENERATING):
        return _with_routes(connection, held + followed, provider_limits.capacity(connection))
    # From here on nothing may wait: everybody's claims wait for this one.
    due_jobs.lock_claiming(connection)
    admitted = provider_limits.capacity(connection)
    due, seen = _choose(connection, admitted, most=len(fresh), mine=providers) if fresh else ([], [])
    taken = _take(connection, due, fresh, decide, stage=Stage.GENERATING)
    _note_probes(connection, taken, admitted, limits=limits)
    lanes.tidy(connection, seen)
    if taken:
        lanes.remember_served(connection, [job.tenant for job in taken])
    return _with_routes(connection, held + taken, admitted)


def claim_uploads(
    connection: Connection, *, worker: str, tokens: Sequence[UUID], limits: StageTimeouts
) -> list[Claimed]:
    """Give an uploader at most as many jobs with staged images as it sent tokens."""

    def decide(job: Job, token: UUID, now: datetime) -> Change:
        return transitions.claim_upload(job, worker=worker, token=token, lease_seconds=limits.lease_seconds, now=now)

    held, fresh = _sort_tokens(connection, tokens, limits=limits)
    due = due_jobs.lock_due_uploads(connection, most=len(fresh)) if fresh else []
    return _with_ledger(connection, held + _take(connection, due, fresh, decide, stage=Stage.UPLOADING))


def renew_leases(connection: Connection, fences: Sequence[Fence], *, limits: StageTimeouts) -> list[tuple[str, str]]:
    """Prolong leases; answers per token, in the order asked, `renewed`, `lost` or `canceled`."""
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
    """Prolong settlements; answers per token, in the order asked, `renewed` or `lost`."""
    _refuse_too_many(tokens)
    renewed = settlements.renew(connection, tokens, seconds=limits.lease_seconds) if tokens else set()
    return [(str(token), "renewed" if str(token) in renewed else "lost") for token in tokens]


def _refuse_too_many(leases: Sequence[object]) -> None:
    if len(leases) > MAX_RENEWALS:
        raise Refusal("TOO_LARGE", f"At most {MAX_RENEWALS} leases in one renewal.")


def _choose(
    connection: Connection, admitted: ClaimCapacity, *, most: int, mine: Sequence[str]
) -> tuple[list[Job], list[Lane]]:
    """Due jobs, locked, and the lanes that were looked at: more of them while those at hand turn out to be empty."""
    lanes.wake(connection)
    tenants = most + SPARE_TENANTS
    for _ in range(MAX_ROUNDS):
        seen = lanes.find(connection, tenants=tenants, mine=mine, capacity=admitted)
        due = due_jobs.lock_due_jobs(connection, seen, most=most) if seen else []
        if len(due) == most or not lanes.tidy(connection, seen):
            break
        tenants *= 4
    return due, seen


def _note_probes(
    connection: Connection, taken: Sequence[Job], admitted: ClaimCapacity, *, limits: StageTimeouts
) -> None:
    """A job that goes where a breaker was open tries it for all others."""
    tried = {one.route for one in admitted.probes()}
    for job in taken:
        for route in admitted.routes(job)[:1]:
            if route in tried:
                longest = admitted.catalogue[route.provider].timeout_seconds + limits.lease_seconds
                breakers.probe(connection, route, by=job, seconds=longest)


def _sort_tokens(
    connection: Connection, tokens: Sequence[UUID], *, limits: StageTimeouts
) -> tuple[list[Job], list[UUID]]:
    """Jobs that are held under these tokens, for a whole lease from now, and the tokens that were never used."""
    if not 1 <= len(tokens) <= MOST_AT_ONCE or len(set(tokens)) != len(tokens):
        raise Refusal("INVALID_INPUT", f"Send 1 to {MOST_AT_ONCE} different lease tokens.")
    due_jobs.lock_tokens(connection, tokens)
    used = attempts.by_tokens(connection, tokens)
    fences = [Fence(job_id=one.job_id, claim_number=one.claim_number, lease_token=one.lease_token) for one in used]
    renewed = due_jobs.renew(connection, fences, seconds=limits.lease_seconds) if fences else set()
    held = jobs.get_many(connection, [one.job_id for one in fences if str(one.lease_token) in renewed])
    known = {attempt.lease_token for attempt in used}
    return held, [token for token in tokens if token not in known]


def _take(
    connection: Connection,
    due: Sequence[Job],
    tokens: Sequence[UUID],
    decide: Callable[[Job, UUID, datetime], Change],
    *,
    stage: Stage,
) -> list[Job]:
    now = jobs.clock(connection)
    changes = [decide(job, token, now) for job, token in zip(due, tokens, strict=False)]
    attempts.add(connection, [_attempt(change.after, stage) for change in changes])
    job_writer.write(connection, changes)
    return [change.after for change in changes]


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


def _with_routes(connection: Connection, held: Sequence[Job], admitted: ClaimCapacity) -> list[Claimed]:
    return [
        replace(one, routes=admitted.routes(one.job) or [next(candidate_routes(one.job, admitted.catalogue))])
        for one in _with_ledger(connection, held)
    ]


def _with_ledger(connection: Connection, held: Sequence[Job]) -> list[Claimed]:
    # A statement of its own, after every lock: it sees what was settled while a lock was waited for.
    ids = [job.id for job in held]
    ledger, images = calls.of_jobs(connection, ids), artifacts.of_jobs(connection, ids)
    return [Claimed(job=job, calls=ledger[job.id], images=images[job.id]) for job in held]
