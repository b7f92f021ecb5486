"""Pools of database connections: no kind of call can hold what another kind needs."""

from enum import StrEnum


class Pool(StrEnum):
    """What has connections of its own; what is left is for the loops of this process."""

    #: Claims wait for each other. More of them at once would only wait in the database instead of here.
    CLAIMS = "claims"
    #: What workers ask about jobs that they hold: a lease is lost when this is late.
    LEASES = "leases"
    #: One job, or the few rows that everybody asks for.
    READS = "reads"
    #: Many rows: lists and counts.
    LISTS = "lists"
    #: What clients want changed.
    WRITES = "writes"
    #: What carries input pictures, up to 40 MiB, in or out.
    INPUTS = "pictures"


POOLS: dict[str, int] = {Pool.CLAIMS: 2, Pool.LEASES: 2, Pool.READS: 2, Pool.LISTS: 2, Pool.WRITES: 3, Pool.INPUTS: 2}
#: Those of the pools, and one for each loop.
CONNECTIONS = sum(POOLS.values()) + 6
