"""Pools of database connections: each kind of work has its own, so that no kind can starve another."""

from enum import StrEnum


class Pool(StrEnum):
    """Kinds of work with their own connections; the other loops of this process share the rest."""

    #: Claims of deliveries.
    CLAIMS = "claims"
    #: Outcomes of attempts: a delay costs leases.
    OUTCOMES = "outcomes"
    #: Reading the feed of final events.
    EVENTS = "events"
    #: Calls of clients.
    CALLS = "calls"
    #: Lists of deliveries.
    LISTS = "lists"


POOLS: dict[str, int] = {Pool.CLAIMS: 1, Pool.OUTCOMES: 4, Pool.EVENTS: 1, Pool.CALLS: 3, Pool.LISTS: 2}
#: Connections of the pools, and one for each other loop.
CONNECTIONS = sum(POOLS.values()) + 2
