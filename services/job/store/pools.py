"""Pools of database connections: each kind of call has its own, so that no kind can starve another."""

from enum import StrEnum


class Pool(StrEnum):
    """Kinds of calls with their own connections; the loops of this process share the others."""

    #: Claims by generators, which may wait for each other.
    CLAIMS = "claims"
    #: Calls of workers about jobs that they hold: a delay costs leases.
    LEASES = "leases"
    #: Queries of one job, or of the few rows that most clients read.
    READS = "reads"
    #: Queries of many rows: lists and counts.
    LISTS = "lists"
    #: Changes by clients.
    WRITES = "writes"
    #: Transfers of input images, up to 40 MiB.
    INPUTS = "inputs"


POOLS: dict[str, int] = {Pool.CLAIMS: 2, Pool.LEASES: 2, Pool.READS: 2, Pool.LISTS: 2, Pool.WRITES: 3, Pool.INPUTS: 2}
#: Connections of the pools, and one for each loop.
CONNECTIONS = sum(POOLS.values()) + 7
