"""Claims jobs for workers: each job for one worker; a repeated claim with the same tokens returns the same jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application import provider_limits
from services.job.domain import transitions
from services.job.domain.calls import ProviderCall, may_pay_again
from services.job.domain.circuit_breakers import Route
from services.job.domain.failures import Stage
from services.job.domain.jobs import Artifact, Attempt, Fence, Job
from services.job.domain.pauses import Pauses
from services.job.domain.refusals import Refusal
from services.job.domain.routing import UNLIMITED, ClaimCapacity, candidate_routes
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.store import (
    artifacts,
    attempts,
    breakers,
    calls,
    claim_locks,
    due_jobs,
    job_writer,
    jobs,
    lane_loads,
    lanes,
    pauses,
    settlements,
)
from services.job.store.due_jobs import DueJob
from services.job.store.lanes import Lane

#: Lease tokens of one claim.
MAX_TOKENS = 64
#: Leases of one renewal.
MAX_RENEWALS = 256
#: Tenants that are checked beyond one per job: some jobs may be locked, and some lanes empty.
SPARE_TENANTS = 4
#: Searches of one claim, each over four times as many tenants, while the lanes found are empty or at their limits, or
#: other claims take what is chosen.
MAX_ROUNDS = 5
#: Tenants of one search.
MAX_TENANTS = 1_000


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

    held, fresh = _sort_tokens(connection, tokens, limits=limits)
    # Fetching a result buys nothing, so such jobs come first, without the lock and in spite of pauses; the worker
    # claims again by itself.
    due = due_jobs.lock_jobs_to_follow(connection, limit=len(fresh), served_by=providers) if fresh else []
    if due:
        followed = _claim(connection, due, fresh, claim_under(pauses.read(connection)), stage=Stage.GENERATING)
        return _with_routes(connection, held + followed, provider_limits.capacity(connection))
    claim_locks.share_claiming(connection)
    capacity = provider_limits.capacity(connection, claiming=providers)
    is_open = bool(fresh) and not capacity.pauses.is_queue_paused
    due, seen = _choose(connection, capacity, limit=len(fresh), served_by=providers) if is_open else ([], [])
    claimed = _claim(connection, due, fresh, claim_under(capacity.pauses), stage=Stage.GENERATING)
    _record_probes(connection, claimed, capacity, limits=limits)
    lanes.tidy(connection, seen)
    lane_loads.remember(connection, seen, [job.tenant for job in claimed])
    return _with_routes(connection, held + claimed, capacity)


def claim_uploads(
    connection: Connection, *, worker: str, tokens: Sequence[UUID], limits: StageTimeouts
) -> list[Claimed]:
    """Claims jobs for an uploader, at most one per token. Raises `Refusal` INVALID_INPUT for invalid tokens."""

    def decide(job: Job, token: UUID, now: datetime) -> Change:
        return transitions.claim_upload(job, worker=worker, token=token, lease_seconds=limits.lease_seconds, now=now)

    held, fresh = _sort_tokens(connection, tokens, limits=limits)
    due = due_jobs.lock_due_uploads(connection, limit=len(fresh)) if fresh else []
    return _with_ledger(connection, held + _claim(connection, due, fresh, decide, stage=Stage.UPLOADING))


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


def _choose(
    connection: Connection, capacity: ClaimCapacity, *, limit: int, served_by: Sequence[str]
) -> tuple[list[Job], list[Lane]]:
    """Locks due jobs; returns them with the lanes that were searched, in further rounds while those have too few."""
    lanes.wake(connection)
    lane_loads.read_changes(connection)
    tenants = limit + SPARE_TENANTS
    locked: set[str] = set()
    for number in range(MAX_ROUNDS):
        seen = lanes.find(connection, tenants=tenants, served_by=served_by, capacity=capacity)
        chosen = due_jobs.choose(connection, seen, wanted=tenants) if seen else []
        allowed = _within_limits(connection, seen, chosen, limit=limit, locked=locked, is_first=number == 0)
        due = due_jobs.lock(connection, allowed, limit=limit) if allowed else []
        if len(due) == limit:
            break
        are_all = sum(len(lane.ids) for lane in seen) < tenants
        are_useless = not are_all and bool(lanes.tidy(connection, seen) or lane_loads.wrong(seen))
        # Other claims may hold what was chosen.
        if not (are_useless or len(allowed) < len(chosen) or len(chosen) == tenants):
            break
        lane_loads.remember(connection, seen)
        tenants = min(4 * tenants, MAX_TENANTS)
    return due, seen


def _within_limits(
    connection: Connection,
    seen: Sequence[Lane],
    chosen: Sequence[DueJob],
    *,
    limit: int,
    locked: set[str],
    is_first: bool,
) -> list[DueJob]:
    """Returns the jobs that their tenants' limits allow; locks tenants with a limit, and adds them to `locked`.

    The first time it takes only tenants that no other claim counts, and later it waits for the others.
    """
    limited = {lane.tenant for lane in seen if lane.max_in_flight < UNLIMITED}
    if is_first:
        in_order = [tenant for tenant in dict.fromkeys(one.tenant for one in chosen) if tenant in limited]
        locked |= claim_locks.try_tenants(connection, in_order, limit=limit)
    else:
        wanted = {one.tenant for one in chosen[:limit]} & limited
        locked |= claim_locks.lock_tenants(connection, wanted, held=locked)
    # In a statement after the locks: it counts what the claims took that had them before.
    rooms = due_jobs.rooms(connection, limited & locked)
    allowed = []
    for one in chosen:
        if one.tenant in limited:
            rooms[one.tenant] = rooms.get(one.tenant, 0) - 1
        if rooms.get(one.tenant, 0) >= 0:
            allowed.append(one)
    return allowed


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


def _sort_tokens(
    connection: Connection, tokens: Sequence[UUID], *, limits: StageTimeouts
) -> tuple[list[Job], list[UUID]]:
    """Returns the jobs that are held under these tokens, with their leases renewed, and the tokens never used."""
    if not 1 <= len(tokens) <= MAX_TOKENS or len(set(tokens)) != len(tokens):
        raise Refusal(Reason.INVALID_INPUT, f"Send 1 to {MAX_TOKENS} different lease tokens.")
    due_jobs.lock_tokens(connection, tokens)
    used = attempts.by_tokens(connection, tokens)
    fences = [
        Fence(job_id=attempt.job_id, claim_number=attempt.claim_number, lease_token=attempt.lease_token)
        for attempt in used
    ]
    renewed = due_jobs.renew(connection, fences, seconds=limits.lease_seconds) if fences else set()
    held = jobs.get_many(connection, [fence.job_id for fence in fences if str(fence.lease_token) in renewed])
    known = {attempt.lease_token for attempt in used}
    return held, [token for token in tokens if token not in known]


def _claim(
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


def _with_routes(connection: Connection, held: Sequence[Job], capacity: ClaimCapacity) -> list[Claimed]:
    # A job to follow may have no open route: it gets its own.
    return [
        replace(
            claimed, routes=capacity.routes(claimed.job) or [next(candidate_routes(claimed.job, capacity.catalogue))]
        )
        for claimed in _with_ledger(connection, held)
    ]


def _with_ledger(connection: Connection, held: Sequence[Job]) -> list[Claimed]:
    # In statements after every lock: they see the calls that were settled while a lock was waited for.
    ids = [job.id for job in held if job.may_have_calls]
    ledger, images = calls.of_jobs(connection, ids), artifacts.of_jobs(connection, ids)
    return [Claimed(job=job, calls=ledger[job.id], images=images[job.id]) for job in held]
