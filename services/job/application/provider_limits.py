"""Applies provider limits and circuit breakers: what may be claimed, which calls may begin, what their ends mean."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from common.sql import Connection
from common.telemetry import metrics, registry
from services.job import counters
from services.job.domain.call_limits import CallLimits
from services.job.domain.calls import CallOutcome
from services.job.domain.circuit_breakers import Health, Route, health_of, next_state
from services.job.domain.jobs import Job
from services.job.domain.offering import merge
from services.job.domain.providers import Provider
from services.job.domain.routing import ClaimCapacity
from services.job.store import breakers, claim_facts, claim_locks, jobs, provider_usage, providers
from services.job.store.calls import SettledCall
from services.job.store.claim_facts import ClaimFacts


def register(connection: Connection, worker: str, offered: Sequence[Provider], *, is_starting: bool) -> None:
    """Records what a worker offers, and writes the merged catalogue.

    `is_starting` marks a worker's first registration: it may bring a corrected credential, so that breakers which a
    refused credential opened allow a probe at once.
    """
    providers.lock_catalogue(connection)
    providers.register(connection, worker, offered, is_starting=is_starting)
    providers.write(connection, merge(providers.live(connection)))
    if is_starting:
        breakers.try_again(connection, [provider.name for provider in offered])


def capacity(connection: Connection, facts: ClaimFacts, *, claiming: Collection[str] = ()) -> ClaimCapacity:
    """Returns what may be claimed now.

    For the providers in `claiming` it is valid until commit: no other claim uses their limits or probes before.
    """
    catalogue = facts.catalogue
    limited = [name for name, offer in catalogue.items() if offer.max_concurrency or offer.requests_per_minute]
    used = provider_usage.Load(in_use={}, begun={})
    if limited:
        claim_locks.lock_providers(connection, [name for name in limited if name in claiming])
        # In a statement after the locks: it counts what the claims took that had them before.
        use = claim_facts.read_use(connection, limited)
        facts, used = replace(facts, now=use.now, breakers=use.breakers), use.load
    slots = used.free_slots(catalogue)
    for name in limited:
        metrics.set_gauge(registry.PROVIDER_FREE_SLOTS, slots[name], name)
    found = facts.capacity(slots)
    due = [breaker.route for breaker in found.probes() if breaker.provider in claiming]
    if not due:
        return found
    locked = claim_locks.try_probes(connection, due)
    return found.with_probes(breakers.all_breakers(connection), only=locked, of=claiming)


def lock_limits(
    connection: Connection, provider: Provider, held: Sequence[Job], *, resent: str = ""
) -> CallLimits | None:
    """Returns the use of the provider's limits, which is valid until commit; None for a provider without limits.

    It is for one call of each of the jobs. `resent` is the id of a call that is sent again and holds its slot already;
    "" for new calls.
    """
    if not (provider.max_concurrency or provider.requests_per_minute):
        return None
    provider_usage.lock_provider_calls(connection, provider.name)
    # In a statement after the lock: it counts the calls that began while this one waited for it.
    return provider_usage.limits_of(connection, provider, held, resent=resent)


def record_outcomes(connection: Connection, outcomes: Sequence[CallOutcome], settled: Sequence[SettledCall]) -> None:
    """Updates the circuit breakers with calls that ended. It locks breakers: lock no job after it."""
    by_id = {outcome.call_id: outcome for outcome in outcomes}
    ended: dict[Route, list[CallOutcome]] = defaultdict(list)
    for call in settled:
        ended[Route(provider=call.provider, model=call.model)].append(by_id[call.call_id])
    if not ended:
        return
    failing = {Route(provider=call.provider, model=call.model) for call in settled if call.has_breaker}
    # Nearly every call succeeds at a healthy provider, and changes no breaker: no lock for those.
    affected = [
        route
        for route, calls in ended.items()
        if route in failing or any(health_of(call) in (Health.FAILURE, Health.REFUSED) for call in calls)
    ]
    if not affected:
        return
    locked = breakers.lock(connection, affected)
    now = jobs.clock(connection)
    changed = [next_state(breaker, ended[route], now=now) for route, breaker in locked.items()]
    breakers.write(connection, changed)
    for after in changed:
        if (is_open := after.opened_at is not None) != (locked[after.route].opened_at is not None):
            counters.breaker_changed(connection, after.provider, after.model, is_open=is_open)


def frees_slot(settled: Sequence[SettledCall]) -> bool:
    """Whether the ended calls freed slots of a provider with a concurrency limit, for which jobs may wait."""
    return any(call.is_limited for call in settled)
