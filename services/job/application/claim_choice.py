"""Chooses and locks due jobs for a claim, as limits allow and fairly between tenants."""

from collections.abc import Sequence

from common.sql import Connection
from services.job.domain.routing import UNLIMITED, ClaimCapacity
from services.job.store import claim_locks, due_jobs, lane_loads, lanes
from services.job.store.claim_facts import ClaimFacts
from services.job.store.due_jobs import DueJob, JobsToClaim
from services.job.store.lanes import Lane

#: Tenants that are checked beyond one per job: some jobs may be locked, and some lanes empty.
SPARE_TENANTS = 4
#: Searches of one claim, each over four times as many tenants, while the lanes found are empty or at their limits, or
#: other claims take what is chosen.
MAX_ROUNDS = 5
#: Tenants of one search.
MAX_TENANTS = 1_000


def choose(
    connection: Connection, facts: ClaimFacts, capacity: ClaimCapacity, *, limit: int, served_by: Sequence[str]
) -> tuple[JobsToClaim, list[Lane]]:
    """Locks due jobs; returns them with the lanes that were searched, in further rounds while those have too few."""
    if facts.has_lanes_to_wake:
        lanes.wake(connection)
    if facts.may_read_changes:
        lane_loads.read_changes(connection)
    tenants = limit + SPARE_TENANTS
    locked: set[str] = set()
    for number in range(MAX_ROUNDS):
        seen = lanes.find(connection, tenants=tenants, served_by=served_by, capacity=capacity)
        chosen = due_jobs.choose(connection, seen, wanted=tenants) if seen else []
        allowed = _within_limits(connection, seen, chosen, limit=limit, locked=locked, is_first=number == 0)
        due = due_jobs.lock(connection, allowed, limit=limit) if allowed else due_jobs.NONE
        if len(due.jobs) == limit:
            break
        are_all = sum(len(lane.ids) for lane in seen) < tenants
        idle = [] if are_all else lanes.lock_idle(connection, seen)
        are_useless = not are_all and bool(idle or lane_loads.wrong(seen))
        # Other claims may hold what was chosen.
        if not (are_useless or len(allowed) < len(chosen) or len(chosen) == tenants):
            break
        lanes.remove_doubles(connection, seen)
        lane_loads.remember(connection, seen, idle=idle)
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
