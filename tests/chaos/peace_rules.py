"""Promises about shares and rescues while there is work, and about what is left when there is none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from services.job.domain.states import State
from tests.chaos.history import History
from tests.chaos.tuning import LEASE_SECONDS, MONITOR_INTERVAL_SECONDS, QUOTAS
from tests.chaos.vendor_rules import LIMITED, is_barred

#: Longest time in seconds until a queue is empty once no job is under way any more.
DRAINED_SECONDS: Mapping[str, float] = {
    "outbox": 10.0,
    "leases": 10.0,
    # An operation ends, or its provider's time for it.
    "settlements": 60.0,
    "deletions": 120.0,
    # A delivery whose process was killed waits for the end of its lease.
    "webhooks": 90.0,
}
#: More than a process of a service needs, pools of its libraries included.
MOST_THREADS = 120
#: A claim is compared with jobs that have waited for longer than this in seconds; some may be locked by somebody.
SURELY_WAITING = 0.5
UNFAIR_SHARE, FEW = 0.1, 5
#: What a lease may run out for.
TAKE_LEASES = frozenset({"job", "generator", "uploader", "postgres", "nats"})


def public_objects_are_of_jobs(history: History) -> Iterator[str]:
    """All that is public is a completed job's picture, or of a failed upload that may be tried again; so also later."""
    named = {image["public_name"] for images in history.artifacts.values() for image in images}
    for name in sorted({*history.public, *history.peace.later[BUCKET]}):
        job = history.jobs.get(name.split("/")[1]) if name.startswith("jobs/") else None
        is_kept = job is not None and job["deleted_at"] is None
        if is_kept and job["state"] == State.FAILED:
            is_kept = job["failure_stage"] in ("uploading", "persisting")
        elif is_kept:
            is_kept = job["state"] == State.COMPLETED and name in named
        if not is_kept:
            yield f"{name} is public, and no job's."
    for name in history.peace.later[STAGING_BUCKET]:
        if name not in history.staging:
            yield f"{name} came into staging after everything had ended."


def tenants_share_what_is_scarce(history: History) -> Iterator[str]:
    """While tenants wait for the same provider, the one with the fewest jobs under way has its turn."""
    unfair, contested = _turns(history)
    if len(unfair) > max(FEW, UNFAIR_SHARE * contested):
        yield f"{len(unfair)} of {contested} turns passed a tenant by that had less under way: {'; '.join(unfair[:5])}"


def tenants_keep_their_quotas(history: History) -> Iterator[str]:
    """Nothing new is claimed, and nothing accepted, for a tenant who has as much as he may have.

    What only has to be fetched is claimed all the same.
    """
    noise = timedelta(seconds=history.peace.noise)
    for tenant, quota in QUOTAS.items():
        claims = [(at, until, job_id) for who, at, until, job_id in _under_way(history) if who == tenant]
        for number, (now, _, job_id) in enumerate(claims):
            others = sum(until is None or until > now + noise for _, until, _ in claims[:number])
            if others >= quota.get("max_in_flight", inf) and not _is_followed(history, job_id, now):
                yield f"{job_id} was claimed while {tenant} had {others} under way."
        waits = sorted(
            (event["occurred_at"], following["occurred_at"], job_id)
            for job_id, events in history.events.items()
            for event, following in pairwise(events)
            if event["state"] == State.QUEUED and history.jobs[job_id]["tenant"] == tenant
        )
        for number, (now, _, job_id) in enumerate(waits):
            others = sum(until > now + noise for _, until, _ in waits[:number])
            if others >= quota.get("max_queued", inf) and now == history.events[job_id][0]["occurred_at"]:
                yield f"{job_id} was accepted while {tenant} had {others} in the queue."


def a_fault_costs_one_claim(history: History) -> Iterator[str]:
    """A job is rescued at most once for each fault, and never without one."""
    for job_id, attempts in history.attempts.items():
        free = [strike for strike in history.peace.struck if strike.kinds & TAKE_LEASES]
        for attempt in attempts:
            if attempt["outcome"] != "rescued":
                continue
            cause = next((one for one in free if _explains(one.at, one.until, attempt["ended_at"], history)), None)
            if cause is None:
                yield f"{job_id}: claim {attempt['claim_number']} of {attempt['worker']} was ended without a fault."
            else:
                free.remove(cause)


def nothing_is_held_at_peace(history: History) -> Iterator[str]:
    """Slots are empty, threads are as many as they may be, and no connection keeps a transaction open."""
    for worker, busy in history.peace.busy.items():
        if busy:
            yield f"{worker} has {busy} slots in use."
    for process, threads in history.peace.threads.items():
        if threads > MOST_THREADS:
            yield f"{process} has {threads} threads."
    if history.peace.idle_transactions:
        yield f"{history.peace.idle_transactions} transactions are open and idle."


def every_fact_is_folded(history: History) -> Iterator[str]:
    """At peace no fact is stored, none is out for acknowledgement, and the floor is where the last one was."""
    yield from (f"{count} facts are {how}." for how, count in history.peace.facts.items() if count)


def queues_drain_in_time(history: History) -> Iterator[str]:
    """Each queue is empty soon after the last job's end."""
    for name, seconds in history.peace.drained.items():
        allowed = DRAINED_SECONDS[name] + history.peace.noise
        if seconds is None or seconds > allowed:
            taken = "no end" if seconds is None else f"{seconds:.0f} s"
            yield f"{name} took {taken} to be empty, {allowed:.0f} s are allowed."


RULES: Sequence[Callable[[History], Iterator[str]]] = (
    public_objects_are_of_jobs,
    tenants_share_what_is_scarce,
    tenants_keep_their_quotas,
    a_fault_costs_one_claim,
    nothing_is_held_at_peace,
    every_fact_is_folded,
    queues_drain_in_time,
)


def contested_turns(history: History) -> int:
    """How many claims there were while another tenant waited as well."""
    return _turns(history)[1]


def _explains(since: datetime, until: datetime, ended_at: datetime, history: History) -> bool:
    """Whether a lease may have run out by a fault of that time, which may have held back the monitor, too."""
    noise = timedelta(seconds=history.peace.noise)
    rescue = timedelta(seconds=2 * LEASE_SECONDS + 2 * MONITOR_INTERVAL_SECONDS)
    return since - noise <= ended_at <= until + rescue + noise


@dataclass(frozen=True, kw_only=True)
class _Wait:
    """A job that could have been claimed, from when until when."""

    tenant: str
    since: datetime
    until: datetime


def _turns(history: History) -> tuple[list[str], int]:
    """Claims while another tenant waited as well: those that passed it by, and how many there were."""
    waits = _waits(history)
    under_way = [(who, since, until) for who, since, until, _ in _under_way(history)]
    unfair, contested = [], 0
    for job_id, attempts in history.attempts.items():
        job = history.jobs[job_id]
        if job["provider"] != LIMITED:
            continue
        for attempt in (one for one in attempts if one["stage"] == "generating"):
            now = attempt["started_at"]
            if is_barred(history, LIMITED, now):
                # Who has a way around is not held up by it.
                continue
            surely = [one for one in waits if one.since + timedelta(seconds=SURELY_WAITING) < now < one.until]
            others = {one.tenant for one in surely} - {job["tenant"]}
            contested += bool(others)
            mine = _count_at(under_way, job["tenant"], now)
            for other in sorted(others):
                # Its own queue may be longer than what is seen of it: the jobs that it has deleted are not.
                theirs = _count_at(under_way, other, now) + sum(one.tenant == other for one in surely)
                if mine > theirs + 1 and not _has_its_quota(under_way, other, now):
                    unfair.append(f"{job_id} of {job['tenant']} with {mine} under way before {other} with {theirs}")
                    break
    return unfair, contested


def _under_way(history: History) -> list[tuple[str, datetime, datetime | None, str]]:
    """Tenant, begin, end and job of each claim by a generator, in order."""
    found = [
        (history.jobs[job_id]["tenant"], attempt["started_at"], attempt["ended_at"], job_id)
        for job_id, attempts in history.attempts.items()
        for attempt in attempts
        if attempt["stage"] == "generating"
    ]
    return sorted(found, key=lambda one: (one[1], one[3]))


def _is_followed(history: History, job_id: str, now: datetime) -> bool:
    """Whether the job had something at a provider by then that only has to be fetched."""
    calls = history.calls.get(job_id, ())
    return any(call["operation_id"] is not None and call["created_at"] < now for call in calls)


def _has_its_quota(under_way: Sequence[tuple[str, datetime, datetime | None]], tenant: str, now: datetime) -> bool:
    most: float = QUOTAS.get(tenant, {}).get("max_in_flight", inf)
    return _count_at(under_way, tenant, now) >= most


def _count_at(under_way: Sequence[tuple[str, datetime, datetime | None]], tenant: str, now: datetime) -> int:
    return sum(who == tenant and since < now and (until is None or until > now) for who, since, until in under_way)


def _waits(history: History) -> list[_Wait]:
    """When jobs waited for the scarce provider and were due."""
    found = []
    for job_id, events in history.events.items():
        job = history.jobs[job_id]
        if job["provider"] != LIMITED:
            continue
        for event, following in pairwise(events):
            if event["state"] == State.QUEUED:
                run_at = datetime.fromisoformat(event["snapshot"]["job"]["run_at"]) - event["ahead"]
                due = max(event["occurred_at"], run_at)
                # What was reckoned by a clock that was set back since is due later.
                due += history.set_between(event["occurred_at"], following["occurred_at"])
                found.append(_Wait(tenant=job["tenant"], since=due, until=following["occurred_at"]))
    return found
