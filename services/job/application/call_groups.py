"""Begins several provider calls of one provider in one transaction, each with the outcome that it would have alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.sql import Connection
from services.job.application import new_calls
from services.job.application.new_calls import BegunCall, CallRequest, NewCall, PurchaseRecords
from services.job.application.provider_limits import lock_limits
from services.job.application.spending import LockedSums, reserved_price, with_reservation
from services.job.domain.call_limits import CallLimits
from services.job.domain.jobs import Job
from services.job.domain.refusals import Refusal
from services.job.store import jobs

#: The outcome of a request: None if it must be repeated alone, as it would have to wait for a lock of its own.
Outcome = BegunCall | Refusal | None


def begin_provider_calls(connection: Connection, requests: Sequence[CallRequest]) -> list[Outcome]:
    """Begins calls, without reports on earlier ones; returns the outcomes in the order of the requests.

    It waits for the lock of the provider alone, as all of them do: a request whose job or whose tenant's budget
    another transaction has locked holds up no other. All jobs are locked first, then budgets, then the provider.
    """
    held = jobs.lock_free(connection, [request.fence.job_id for request in requests]).jobs
    outcomes: dict[int, Outcome] = {}
    of_requests: dict[int, Job] = {}
    for index, request in enumerate(requests):
        if request.fence.job_id in held and not _is_double(request, [requests[known] for known in of_requests]):
            try:
                of_requests[index] = new_calls.require_held(held[request.fence.job_id], request.fence)
            except Refusal as refusal:
                outcomes[index] = refusal
    if of_requests:
        outcomes |= _begin_held(connection, {index: (requests[index], job) for index, job in of_requests.items()})
    return [outcomes.get(index) for index in range(len(requests))]


def _is_double(request: CallRequest, earlier: Sequence[CallRequest]) -> bool:
    return any(request.fence.job_id == other.fence.job_id or request.call_id == other.call_id for other in earlier)


def _begin_held(connection: Connection, held: Mapping[int, tuple[CallRequest, Job]]) -> dict[int, Outcome]:
    requests, held_jobs = [request for request, _ in held.values()], [job for _, job in held.values()]
    known = new_calls.read(connection, held_jobs, requests)
    outcomes: dict[int, Outcome] = {}
    new: dict[int, NewCall] = {}
    prices: dict[int, int] = {}
    for index, (request, job) in held.items():
        try:
            if (again := new_calls.repeated(job, request, known)) is not None:
                outcomes[index] = again
                continue
            checked = new_calls.check(job, request, known)
            price = reserved_price(checked.tenant, checked.call, checked.provider)
        except Refusal as refusal:
            outcomes[index] = refusal
            continue
        new[index] = checked
        if price is not None:
            prices[index] = price
    return outcomes | _begin_allowed(connection, new, prices, known)


def _begin_allowed(
    connection: Connection, new: Mapping[int, NewCall], prices: Mapping[int, int], known: PurchaseRecords
) -> dict[int, Outcome]:
    today = next(iter(known.terms.tenants.values())).today
    sums = LockedSums(connection, {new[index].job.tenant for index in prices}, today)
    new = {index: each for index, each in new.items() if index not in prices or sums.has(each.job.tenant)}
    if not new:
        return {}
    first = next(iter(new.values()))
    limits = lock_limits(connection, first.provider, [each.job for each in new.values()])
    outcomes: dict[int, Outcome] = {}
    allowed: dict[int, NewCall] = {}
    for index, each in new.items():
        try:
            allowed[index] = _reserve(each, prices.get(index), sums, limits)
        except Refusal as refusal:
            outcomes[index] = refusal
    sums.write()
    now = known.terms.now if limits is None else limits.now
    begun = new_calls.write(connection, list(allowed.values()), known, now=now)
    return outcomes | dict(zip(allowed, begun, strict=True))


def _reserve(new: NewCall, price: int | None, sums: LockedSums, limits: CallLimits | None) -> NewCall:
    """Counts a call that the budget and the limits allow, for those after it. Raises `Refusal`."""
    if price is not None:
        sums.check(new.tenant, price)
    if limits is not None:
        limits.allow(new.job)
    if price is None:
        return new
    sums.add(new.job.tenant, price)
    return replace(new, call=with_reservation(new.call, new.tenant, price))
