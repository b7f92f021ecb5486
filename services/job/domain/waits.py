"""Says why a job that is not final waits, from what a claim decides with."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime

from calotype.error_reasons import Code, Reason

from services.job.domain.circuit_breakers import Breaker, Route
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job
from services.job.domain.pauses import PauseKind
from services.job.domain.routing import ClaimCapacity, provider_limit_reached
from services.job.domain.states import State
from services.job.domain.wait_reasons import Wait, WaitReason


@dataclass(frozen=True, kw_only=True)
class WaitFacts:
    """What decides whether a claim would choose a job now."""

    #: Providers, limits and breakers of the job's routes, as a claim sees them.
    capacity: ClaimCapacity
    #: Calls of the last minute by provider, of which `capacity.slots` is one limit; a provider without any is left out.
    begun: Mapping[str, int]
    #: Names of the job's providers that running generators offer.
    live: Set[str]
    #: Jobs of the tenant at generators.
    in_flight: int
    #: Limit of these; None for no limit.
    max_in_flight: int | None
    #: Whether only a result has to be fetched from a live provider; no breaker and no limit applies then.
    has_result_to_fetch: bool
    #: Failure of the last attempt that ended; None without one.
    last_failure: Failure | None


def lost(job: Job, *, now: datetime) -> Wait | None:
    """Returns the wait of a job whose worker let its lease expire; None while it is held, and without a lease."""
    if job.lease is None or job.lease.expires_at > now:
        return None
    stage = Stage.UPLOADING if job.state is State.UPLOADING else Stage(job.state)
    message = f"{job.lease.worker} stopped reporting. The job is taken back from it."
    cause = _cause(Code.TEMPORARY, Reason.WORKER_LOST, message, stage=stage)
    return Wait(reason=WaitReason.WORKER_LOST, next_try_at=job.lease.expires_at, failure=cause)


def waiting(job: Job, facts: WaitFacts) -> Wait:
    """Returns what a job without a lease waits for that is queued or to be uploaded."""
    if job.state is State.QUEUED and not facts.has_result_to_fetch:
        return _in_queue(job, facts)
    return _until_due(job, facts) or Wait(reason=WaitReason.WORKER)


def _in_queue(job: Job, facts: WaitFacts) -> Wait:
    # The order is that of the cause that lasts longest.
    if facts.capacity.is_held(job):
        is_provider = job.provider in facts.capacity.pauses.names(PauseKind.PROVIDER)
        return Wait(reason=WaitReason.PAUSED, provider=job.provider if is_provider else "")
    route = facts.capacity.serving_route(job)
    until_due = _until_due(job, facts)
    if route is None:
        probe_at, breaker = min(_probes(job, facts), key=lambda probe: probe[0])
        return until_due if until_due is not None and probe_at < job.run_at else _down(breaker, probe_at)
    if route.provider not in facts.live:
        message = f"No running generator offers {route.provider}."
        cause = _cause(Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE, message)
        return Wait(reason=WaitReason.NO_GENERATOR, provider=route.provider, failure=cause)
    return until_due or _limited(route, facts) or Wait(reason=WaitReason.WORKER)


def _until_due(job: Job, facts: WaitFacts) -> Wait | None:
    """Returns the wait for `run_at`; None for a job that is due."""
    if job.run_at <= facts.capacity.now:
        return None
    failure = job.deferral or facts.last_failure
    is_limit = failure is not None and (failure.code is Code.RATE_LIMIT or failure.reason == Reason.PROVIDER_BUSY)
    return Wait(
        reason=WaitReason.PROVIDER_LIMIT if is_limit else WaitReason.RETRY,
        next_try_at=job.run_at,
        provider=job.provider if is_limit else "",
        failure=failure,
    )


def _probes(job: Job, facts: WaitFacts) -> list[tuple[datetime, Breaker]]:
    """Returns when each of the job's blocked routes may be probed."""
    breakers = facts.capacity.blocking_breakers(job)
    return [(breaker.blocked_until, breaker) for breaker in breakers if breaker.blocked_until is not None]


def _down(breaker: Breaker, probe_at: datetime) -> Wait:
    return Wait(
        reason=WaitReason.PROVIDER_DOWN,
        next_try_at=probe_at,
        provider=breaker.provider,
        failure=breaker.cause(),
    )


def _limited(route: Route, facts: WaitFacts) -> Wait | None:
    """Returns the limit that keeps a claim from the job; None while every limit has room."""
    provider = facts.capacity.catalogue[route.provider]
    if facts.capacity.slots[route.provider] <= 0:
        is_rate = 0 < provider.requests_per_minute <= facts.begun.get(route.provider, 0)
        limit = provider.requests_per_minute if is_rate else provider.max_concurrency
        message = provider_limit_reached(route.provider, limit, is_rate=is_rate)
        return Wait(
            reason=WaitReason.PROVIDER_RATE if is_rate else WaitReason.PROVIDER_LIMIT,
            provider=route.provider,
            limit=limit,
            failure=_cause(Code.RATE_LIMIT, Reason.PROVIDER_BUSY, message),
        )
    if facts.max_in_flight is not None and facts.in_flight >= facts.max_in_flight:
        message = f"The tenant has reached its limit of {facts.max_in_flight} jobs at generators."
        cause = _cause(Code.RATE_LIMIT, Reason.QUOTA_EXCEEDED, message)
        return Wait(reason=WaitReason.TENANT_LIMIT, limit=facts.max_in_flight, failure=cause)
    return None


def _cause(code: Code, reason: Reason, message: str, *, stage: Stage = Stage.QUEUED) -> Failure:
    return Failure(stage=stage, code=code, reason=reason, message=message, retryable=True)
