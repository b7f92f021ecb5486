"""Creates the jobs of a batch in one transaction.

Each item is decided as `submission.create_job` decides it if the items come one after the other; a refused item leaves
the others as they are. Everything is decided before anything is written, so that the batch takes a constant number of
statements; images that were sent as bytes add their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from calotype.error_reasons import Reason

from common.ids import new_uuid7, prefixed
from common.sql import Connection
from services.job.application.batch_quota import BatchQuota
from services.job.application.submission import SCOPE, ActionResult, NewJob, choose_route, job_deleted, key_reused
from services.job.domain import transitions
from services.job.domain.jobs import Job
from services.job.domain.providers import Provider
from services.job.domain.quotas import Quota, Rate
from services.job.domain.refusals import Refusal
from services.job.store import idempotency, inputs, job_writer, jobs, providers
from services.job.store.idempotency import FirstUse
from services.job.store.spending import spending_of

_Route = tuple[Provider, str]


@dataclass(frozen=True, kw_only=True)
class JobBatch:
    """Requests for new jobs of one tenant."""

    #: Owner of the jobs.
    tenant: str
    #: Items in their order, each with this tenant; a refusal for an item that could not be read.
    items: Sequence[NewJob | Refusal]
    #: Quota of the tenant; None when the caller knows none.
    quota: Quota | None = None

    @property
    def has_images(self) -> bool:
        """Whether an item has images that were sent as bytes."""
        return any(isinstance(item, NewJob) and item.input_bytes for item in self.items)


class BatchResult(NamedTuple):
    """Result of a batch."""

    #: Result of each item, in their order.
    results: list[ActionResult | Refusal]
    #: The tenant's request rate after the batch; None without such a quota, or when no job was to be admitted.
    rate: Rate | None


class _BatchPlan(NamedTuple):
    """What is to be done with the items that have no job yet."""

    #: By index: the index of the item whose job it gets, its own for a new job; or why it gets none.
    jobs: dict[int, int | Refusal]
    #: What is left of the quota.
    quota: BatchQuota

    @property
    def accepted(self) -> list[int]:
        """Indexes of the items for which a job is created."""
        return [index for index, decision in self.jobs.items() if decision == index]


def create_jobs(connection: Connection, batch: JobBatch) -> BatchResult:
    """Creates the jobs; each item gets its new job, the one of its key, or a `Refusal` of `submission.create_job`.

    Raises `Refusal` SERVICE_UNAVAILABLE, while no generator offers a provider for an item that needs one.
    """
    wanted = {index: item for index, item in enumerate(batch.items) if isinstance(item, NewJob)}
    keys = {item.idempotency_key for item in wanted.values() if item.idempotency_key}
    results: dict[int, ActionResult | Refusal] = {
        index: item for index, item in enumerate(batch.items) if isinstance(item, Refusal)
    }
    results |= _replays(connection, wanted, idempotency.lock_and_read(connection, batch.tenant, SCOPE, keys))
    new = {index: item for index, item in wanted.items() if index not in results}
    rate = None
    if new:
        created, rate = _create_new(connection, batch, new)
        results |= created
    return BatchResult([results[index] for index in range(len(batch.items))], rate)


def _replays(
    connection: Connection, wanted: Mapping[int, NewJob], known: Mapping[str, FirstUse]
) -> dict[int, ActionResult | Refusal]:
    """Returns the results of the items whose keys were used before this batch."""
    uses = {index: known[item.idempotency_key] for index, item in wanted.items() if item.idempotency_key in known}
    if not uses:
        return {}
    # Locked, so that their images and calls are read at the same moment.
    locked, _ = jobs.lock(connection, {use.job_id for use in uses.values()})
    found = job_writer.snapshots(connection, [job for job in locked.values() if job.deleted_at is None])
    results: dict[int, ActionResult | Refusal] = {}
    for index, use in uses.items():
        if use.fingerprint != wanted[index].fingerprint:
            results[index] = key_reused()
        elif use.job_id not in found:
            results[index] = job_deleted(use.job_id)
        else:
            results[index] = ActionResult(found[use.job_id], replayed=True)
    return results


def _create_new(
    connection: Connection, batch: JobBatch, new: Mapping[int, NewJob]
) -> tuple[dict[int, ActionResult | Refusal], Rate | None]:
    routes = _routes(connection, batch.tenant, new)
    # In the order of the items, in which jobs of one moment are claimed.
    ids = dict(zip(new, sorted(prefixed("job", new_uuid7()) for _ in new), strict=True))
    plan = _decide_and_store_images(connection, batch, new, ids, routes)
    rate = plan.quota.write(connection, batch.tenant)
    _assign_keys(connection, batch.tenant, new, ids, plan.accepted)
    now = jobs.clock(connection)
    written = job_writer.write_batch(
        connection, [_job(new[index], ids[index], routes[index], now=now) for index in plan.accepted]
    )
    results: dict[int, ActionResult | Refusal] = {}
    for index, decision in plan.jobs.items():
        if isinstance(decision, Refusal):
            results[index] = decision
        else:
            results[index] = ActionResult(written[ids[decision]], replayed=decision != index)
    return results, rate


def _decide_and_store_images(
    connection: Connection,
    batch: JobBatch,
    new: Mapping[int, NewJob],
    ids: Mapping[int, str],
    routes: Mapping[int, _Route | Refusal],
) -> _BatchPlan:
    priorities = {int(new[index].request.priority) for index, route in routes.items() if not isinstance(route, Refusal)}
    quota = batch.quota if priorities else None
    stored: set[int] = set()
    if batch.has_images:
        # Before the lock that other requests of the tenant wait for: this may take seconds.
        expected = _decide(new, routes, BatchQuota.read(connection, batch.tenant, quota, priorities))
        stored = _store_images(connection, new, ids, expected.accepted)
    plan = _decide(new, routes, BatchQuota.lock(connection, batch.tenant, quota, priorities))
    if batch.has_images:
        _store_images(connection, new, ids, [index for index in plan.accepted if index not in stored])
        inputs.remove(connection, [ids[index] for index in stored.difference(plan.accepted)])
    return plan


def _routes(connection: Connection, tenant: str, new: Mapping[int, NewJob]) -> dict[int, _Route | Refusal]:
    """Returns provider and model of each item, or why there is none."""
    offered, spending = providers.offered(connection), spending_of(connection, tenant)
    routes: dict[int, _Route | Refusal] = {}
    for index, item in new.items():
        try:
            routes[index] = choose_route(item.request, offered, spending)
        except Refusal as refusal:
            if refusal.reason == Reason.SERVICE_UNAVAILABLE:
                raise
            routes[index] = refusal
    return routes


def _decide(new: Mapping[int, NewJob], routes: Mapping[int, _Route | Refusal], quota: BatchQuota) -> _BatchPlan:
    """Decides the items one after the other; a key of an accepted item is used for those after it."""
    decided: dict[int, int | Refusal] = {}
    owners: dict[str, int] = {}
    for index, item in new.items():
        owner, route = owners.get(item.idempotency_key), routes[index]
        if owner is not None:
            decided[index] = owner if new[owner].fingerprint == item.fingerprint else key_reused()
            continue
        if isinstance(route, Refusal):
            decided[index] = route
            continue
        try:
            quota.admit(int(item.request.priority))
        except Refusal as refusal:
            decided[index] = refusal
            continue
        decided[index] = index
        if item.idempotency_key:
            owners[item.idempotency_key] = index
    return _BatchPlan(decided, quota)


def _store_images(
    connection: Connection, new: Mapping[int, NewJob], ids: Mapping[int, str], indexes: Sequence[int]
) -> set[int]:
    """Inserts the images of these items; returns the indexes of the items that have any."""
    stored = {index for index in indexes if new[index].input_bytes}
    for index in stored:
        inputs.add(connection, ids[index], new[index].input_bytes)
    return stored


def _assign_keys(
    connection: Connection, tenant: str, new: Mapping[int, NewJob], ids: Mapping[int, str], accepted: Sequence[int]
) -> None:
    uses = {
        new[index].idempotency_key: FirstUse(fingerprint=new[index].fingerprint, job_id=ids[index])
        for index in accepted
        if new[index].idempotency_key
    }
    if not idempotency.assign_all(connection, tenant, SCOPE, uses):
        message = "Another request uses one of the keys at this moment; try again."
        raise Refusal(Reason.SERVICE_UNAVAILABLE, message, retry_after_seconds=1)


def _job(item: NewJob, job_id: str, route: _Route | Refusal, *, now: datetime) -> Job:
    assert not isinstance(route, Refusal)
    provider, model = route
    return transitions.submit(
        job_id=job_id,
        tenant=item.tenant,
        request=item.request,
        provider=provider.name,
        model=model,
        traceparent=item.traceparent,
        now=now,
    )
