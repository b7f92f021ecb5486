"""Turns of tenants: a job's turn is its tenant's number of jobs at generators plus its place in the tenant's queue."""

from bisect import bisect_left
from collections.abc import Mapping


def depths_of_turns(tenants: Mapping[str, tuple[int, int]], *, wanted: int) -> dict[str, int]:
    """Returns how many jobs of each tenant can be among the `wanted` jobs with the lowest turns, if all have enough.

    `tenants` has each one's jobs at generators and the limit of these.
    """
    if not tenants:
        return {}

    def jobs_below(turn: int) -> int:
        return sum(_depth(turn, *load) for load in tenants.values())

    highest = max(in_flight for in_flight, _ in tenants.values())
    last = bisect_left(range(highest + wanted), wanted, key=jobs_below)
    return {tenant: _depth(last, *load) for tenant, load in tenants.items()}


def _depth(turn: int, in_flight: int, max_in_flight: int) -> int:
    return max(min(turn, max_in_flight) - in_flight, 0)
