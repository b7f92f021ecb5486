"""Locks of claims: claims run at once, but two never count for one limit at once.

A claim waits for locks in one order: those of its lease tokens, that of claiming, those of providers by name, those of
tenants by name. Whatever it locks besides, it takes only if it is free. So claims do not wait for each other in a
circle. All locks end with the transaction. An older job-service takes the lock of claiming alone, and nobody claims
beside it.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from common.sql import Connection, text
from services.job.domain.circuit_breakers import Route
from services.job.store import rows

#: Milliseconds between two statements of a claim after which its connection is ended: others may wait for its locks.
IDLE_MS = 2_000

LOCK_CLAIMING = """
SELECT pg_advisory_xact_lock(hashtextextended('claim', 0))
"""

SHARE_CLAIMING = """
SELECT pg_advisory_xact_lock_shared(hashtextextended('claim', 0))
"""

LOCK_TOKENS = """
SELECT pg_advisory_xact_lock(hashtextextended(CAST(token AS text), 0))
FROM (SELECT token FROM unnest(CAST(:tokens AS uuid[])) AS token ORDER BY token) AS requested
"""

# First the tokens, then claiming, and that only if it is free: a claim that is repeated, or that finds results to
# fetch, does not need it.
BEGIN_CLAIM = f"""
SELECT CASE WHEN EXISTS (SELECT FROM attempts WHERE lease_token = ANY(CAST(:tokens AS uuid[]))) THEN false
    ELSE pg_try_advisory_xact_lock_shared(hashtextextended('claim', 0)) END AS is_shared,
    set_config('idle_in_transaction_session_timeout', CAST(:idle_ms AS text), true)
FROM (SELECT count(*) FROM ({LOCK_TOKENS}) AS locked) AS tokens
"""  # noqa: S608

LOCK_PROVIDERS = """
SELECT pg_advisory_xact_lock(hashtextextended('claims of provider ' || name, 0))
FROM (SELECT name FROM unnest(CAST(:names AS text[])) AS name ORDER BY name COLLATE "C") AS providers
"""

TRY_TENANTS = """
SELECT tenant FROM (
    SELECT tenant FROM unnest(CAST(:tenants AS text[])) WITH ORDINALITY AS asked (tenant, position) ORDER BY position
) AS tenants
WHERE pg_try_advisory_xact_lock(hashtextextended('claims of tenant ' || tenant, 0)) LIMIT :limit
"""

# Tenants after the last one that is locked already may be waited for.
LOCK_TENANTS = """
SELECT tenant FROM (
    SELECT tenant, hashtextextended('claims of tenant ' || tenant, 0) AS key
    FROM unnest(CAST(:tenants AS text[])) AS tenant ORDER BY tenant COLLATE "C"
) AS tenants
WHERE CASE WHEN tenant COLLATE "C" > :last THEN CAST(pg_advisory_xact_lock(key) AS text) IS NOT NULL
    ELSE pg_try_advisory_xact_lock(key) END
"""

TRY_PROBES = """
SELECT provider, model FROM jsonb_to_recordset(CAST(:routes AS jsonb)) AS route (provider text, model text)
WHERE pg_try_advisory_xact_lock(hashtextextended('probe of ' || provider || ' ' || model, 0))
"""

#: Condition that this claim may read the changes of loads: no other does until commit.
TRY_COUNTING = "pg_try_advisory_xact_lock(hashtextextended('lane loads', 0))"


def lock_claiming(connection: Connection) -> None:
    """Waits until no claim by a generator runs, and lets none begin until commit."""
    connection.defer(text(LOCK_CLAIMING))


def lock_tokens(connection: Connection, tokens: Sequence[UUID]) -> None:
    """Locks lease tokens until commit, so that a claim which is sent twice at once runs twice in sequence."""
    connection.defer(text(LOCK_TOKENS), {"tokens": [str(token) for token in tokens]})


def begin_claim(connection: Connection, tokens: Sequence[UUID]) -> bool:
    """Locks lease tokens as `lock_tokens` does; returns whether the claim also shares the lock of claiming already."""
    parameters = {"tokens": [str(token) for token in tokens], "idle_ms": IDLE_MS}
    return bool(connection.execute(text(BEGIN_CLAIM), parameters).one().is_shared)


def share_claiming(connection: Connection) -> None:
    """Waits until this claim by a generator may choose jobs; others may at once."""
    connection.defer(text(SHARE_CLAIMING))


def lock_providers(connection: Connection, names: Collection[str]) -> None:
    """Waits for claims that count the slots of these providers."""
    if names:
        connection.defer(text(LOCK_PROVIDERS), {"names": list(names)})


def try_tenants(connection: Connection, tenants: Sequence[str], *, limit: int) -> set[str]:
    """Locks the first `limit` of these tenants whose jobs no other claim counts, and returns them."""
    found = connection.execute(text(TRY_TENANTS), {"tenants": list(tenants), "limit": limit}) if tenants else ()
    return {row.tenant for row in found}


def lock_tenants(connection: Connection, tenants: Collection[str], *, held: Collection[str]) -> set[str]:
    """Waits for claims that count the jobs of these tenants, and returns those that are locked now.

    `held` are locked already. A tenant that is before one of them by name is locked only if it is free.
    """
    missing = set(tenants) - set(held)
    if not missing:
        return set()
    parameters = {"tenants": list(missing), "last": max(held, default="")}
    return set(connection.execute(text(LOCK_TENANTS), parameters).scalars())


def try_probes(connection: Connection, routes: Sequence[Route]) -> set[Route]:
    """Returns those of the routes that no other claim may probe until commit."""
    asked = rows.as_parameter([rows.to_json(route) for route in routes])
    found = connection.execute(text(TRY_PROBES), {"routes": asked})
    return {Route(provider=row.provider, model=row.model) for row in found}
