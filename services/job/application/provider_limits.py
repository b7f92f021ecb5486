"""Hold limits and breakers: what may be claimed, whether a call may begin, and what its end says of its provider."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from services.job.domain.calls import CallOutcome
from services.job.domain.circuit_breakers import Health, Route, health_of, next_state
from services.job.domain.jobs import Job
from services.job.domain.offering import merge
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.routing import UNLIMITED, ClaimCapacity
from services.job.store import breakers, jobs, provider_usage, providers
from services.job.store.calls import SettledCall


def register(connection: Connection, worker: str, known: Sequence[Provider], *, is_starting: bool) -> None:
    """Offer what the workers offer together; one that starts may have the credential that was missing."""
    providers.lock_catalogue(connection)
    providers.register(connection, worker, known, is_starting=is_starting)
    providers.write(connection, merge(providers.live(connection)))
    if is_starting:
        breakers.try_again(connection, [one.name for one in known])


def capacity(connection: Connection) -> ClaimCapacity:
    """How many jobs each provider takes now. Right as long as nobody else claims: see `claims.one_at_a_time`."""
    catalogue = providers.catalogue(connection)
    limited = [name for name, one in catalogue.items() if one.max_concurrency or one.requests_per_minute]
    used = provider_usage.of_providers(connection, limited) if limited else provider_usage.Load(in_use={}, begun={})
    return ClaimCapacity(
        now=jobs.clock(connection),
        catalogue=catalogue,
        slots={name: _places(one, used) for name, one in catalogue.items()},
        breakers=breakers.all_breakers(connection),
    )


def refuse_beyond_limits(connection: Connection, provider: Provider, job: Job, *, resent: str = "") -> None:
    """Let a request leave only where the provider's limits have room. Raises `Refusal` PROVIDER_BUSY.

    `resent` is the call that is sent again, which has its place already.
    """
    if not (provider.max_concurrency or provider.requests_per_minute):
        return
    provider_usage.lock_provider_calls(connection, provider.name)
    # Later statements than the lock: they count what others began while it was waited for.
    if (most := provider.max_concurrency) and provider_usage.slots_used_by_others(
        connection, provider.name, job_id=job.id, claim_number=job.claim_number, resent=resent
    ) >= most:
        raise Refusal("PROVIDER_BUSY", f"{provider.name} has as many calls under way as it may ({most}).")
    if (most := provider.requests_per_minute) and (
        at := provider_usage.next_free_at(connection, provider.name, most=most)
    ):
        wait = max((at - jobs.clock(connection)).total_seconds(), 0.0)
        message = f"{provider.name} was asked as often as it may be within a minute ({most})."
        raise Refusal("PROVIDER_BUSY", message, retry_after_seconds=wait)


def record_outcomes(connection: Connection, outcomes: Sequence[CallOutcome], settled: Sequence[SettledCall]) -> None:
    """Let breakers learn from calls that ended. They are locked here: lock no job after it."""
    told = {outcome.call_id: outcome for outcome in outcomes}
    news: dict[Route, list[CallOutcome]] = defaultdict(list)
    for one in settled:
        news[Route(provider=one.provider, model=one.model)].append(told[one.call_id])
    if not news:
        return
    known = breakers.all_breakers(connection)
    # Nearly always a call went well at a provider that is well: nothing is locked for that.
    ill = [
        route
        for route, ended in news.items()
        if route in known or any(health_of(one) in (Health.FAILURE, Health.REFUSED) for one in ended)
    ]
    if not ill:
        return
    locked = breakers.lock(connection, ill)
    now = jobs.clock(connection)
    breakers.write(connection, [next_state(breaker, news[route], now=now) for route, breaker in locked.items()])


def frees_slot(connection: Connection, settled: Sequence[SettledCall]) -> bool:
    """Whether jobs may be waiting for what these calls held."""
    if not settled:
        return False
    catalogue = providers.catalogue(connection)
    return any(
        (provider := catalogue.get(one.provider)) is not None and provider.max_concurrency > 0 for one in settled
    )


def _places(provider: Provider, used: provider_usage.Load) -> int:
    free = UNLIMITED
    if provider.max_concurrency:
        free = min(free, provider.max_concurrency - used.in_use.get(provider.name, 0))
    if provider.requests_per_minute:
        free = min(free, provider.requests_per_minute - used.begun.get(provider.name, 0))
    return max(free, 0)
