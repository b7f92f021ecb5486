"""Claims of deliveries: due ones become `sending` under a lease, and return from it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.sql import Connection, Row, text
from services.notifier.domain.deliveries import ClaimedDelivery
from services.notifier.domain.endpoints import Secret, SignatureScheme, SlotShare
from services.notifier.store import job_order, readiness, rows, secrets
from services.notifier.store.readiness import IN_FLIGHT_LIMIT

#: Seconds of a lease: longer than a request to job-service and an attempt together.
LEASE_SECONDS = 60.0

# What an attempt needs.
SENDING = """
delivery.id, delivery.endpoint_id, delivery.tenant, coalesce(delivery.url, endpoint.url) AS url, endpoint.scheme,
    delivery.event_type, delivery.job_id, delivery.sequence, delivery.occurred_at, CAST(delivery.data AS text) AS data,
    delivery.attempt_count, delivery.is_probe, endpoint.share, delivery.lease_token, endpoint.kind
"""

# Those that wait longest first. A locked endpoint is skipped: whoever holds it wakes the dispatcher afterwards.
LOCK_READY = """
SELECT id FROM webhook_endpoints
WHERE share = :share AND ready_at <= now() AND tenant <> ALL(CAST(:without AS text[]))
ORDER BY ready_at LIMIT :limit
FOR UPDATE SKIP LOCKED
"""

# Endpoints take turns: each gets a first delivery before any gets a second one.
CLAIM = f"""
WITH capacity AS (
    SELECT endpoint.id, endpoint.ready_at, endpoint.openings > 0 AS is_open, least(
        {IN_FLIGHT_LIMIT} - (
            SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = endpoint.id AND state = 'sending'),
        CASE WHEN endpoint.minute_started_at > now() - interval '1 minute'
            THEN :per_minute - endpoint.minute_attempts ELSE :per_minute END) AS free
    FROM webhook_endpoints AS endpoint WHERE endpoint.id = ANY(CAST(:endpoint_ids AS uuid[]))
), due AS (
    SELECT next.id, capacity.is_open
    FROM capacity CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY due_at, id) AS turn FROM (
            SELECT id, due_at FROM webhook_deliveries
            WHERE endpoint_id = capacity.id AND state = 'pending' AND due_at <= now()
            ORDER BY due_at, id LIMIT greatest(capacity.free, 0)) AS first) AS next
    ORDER BY next.turn, capacity.ready_at LIMIT :limit
)
UPDATE webhook_deliveries AS delivery SET
    state = 'sending', due_at = NULL, lease_token = gen_random_uuid(), is_probe = due.is_open,
    leased_until = now() + make_interval(secs => {LEASE_SECONDS})
FROM due, webhook_endpoints AS endpoint WHERE delivery.id = due.id AND endpoint.id = delivery.endpoint_id
RETURNING {SENDING}
"""  # noqa: S608

EXPIRED = f"""
SELECT {SENDING} FROM webhook_deliveries AS delivery
JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
WHERE delivery.state = 'sending' AND delivery.leased_until <= now()
ORDER BY delivery.leased_until LIMIT :limit
"""  # noqa: S608

COUNT_ATTEMPTS = """
WITH minute AS (
    SELECT id, minute_attempts, minute_started_at, minute_started_at > now() - interval '1 minute' AS is_current
    FROM webhook_endpoints
), counted AS (
    SELECT minute.id, claimed.attempts + CASE WHEN is_current THEN minute_attempts ELSE 0 END AS attempts,
        CASE WHEN is_current THEN minute_started_at ELSE now() END AS started_at
    FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:attempts AS integer[])) AS claimed (id, attempts)
    JOIN minute ON minute.id = claimed.id
)
UPDATE webhook_endpoints AS endpoint SET
    served_at = now(), minute_attempts = counted.attempts, minute_started_at = counted.started_at,
    rate_until = CASE WHEN counted.attempts >= :per_minute THEN counted.started_at + interval '1 minute' END
FROM counted WHERE endpoint.id = counted.id
"""

RELEASE = """
UPDATE webhook_deliveries AS delivery SET
    state = CASE WHEN endpoint.disabled_reason IS NOT NULL THEN 'held'
        WHEN delivery.job_id IS NULL THEN 'pending' ELSE 'waiting' END,
    due_at = CASE WHEN endpoint.disabled_reason IS NULL AND delivery.job_id IS NULL THEN now() END,
    ended_at = CASE WHEN endpoint.disabled_reason IS NOT NULL THEN clock_timestamp() END,
    lease_token = NULL, leased_until = NULL, is_probe = false
FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS held (id, token), webhook_endpoints AS endpoint
WHERE delivery.id = held.id AND delivery.lease_token = held.token AND endpoint.id = delivery.endpoint_id
RETURNING delivery.id, delivery.endpoint_id, delivery.job_id
"""

UNCOUNT_ATTEMPTS = """
UPDATE webhook_endpoints AS endpoint SET
    minute_attempts = greatest(endpoint.minute_attempts - released.attempts, 0), rate_until = NULL
FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:attempts AS integer[])) AS released (id, attempts)
WHERE endpoint.id = released.id
"""


@dataclass(frozen=True, kw_only=True)
class DeliveryClaim:
    """A claimed delivery with the secrets that sign it."""

    #: The delivery, under its lease.
    delivery: ClaimedDelivery
    #: Newest first.
    secrets: Sequence[Secret]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a process claims for one share."""

    #: Free slots.
    limit: int
    #: Tenants that have many slots already: they get the others only if no other tenant needs them.
    crowded: Collection[str] = ()


def claim_shares(connection: Connection, wanted: Mapping[SlotShare, Wanted], *, per_minute: int) -> list[DeliveryClaim]:
    """Claims due deliveries for the free slots of each share."""
    claimed = []
    for share, each in wanted.items():
        found = claim(connection, share, limit=each.limit, per_minute=per_minute, without=each.crowded)
        if not found and each.crowded:
            found = claim(connection, share, limit=each.limit, per_minute=per_minute)
        claimed += found
    return claimed


def claim(
    connection: Connection, share: SlotShare, *, limit: int, per_minute: int, without: Collection[str] = ()
) -> list[DeliveryClaim]:
    """Claims up to `limit` due deliveries of the endpoints of a share.

    No endpoint gets more than its free capacity, or more than `per_minute` attempts in a minute. The tenants `without`
    get nothing.
    """
    wanted = {"share": share, "limit": limit, "without": sorted(without)}
    ready = list(connection.execute(text(LOCK_READY), wanted).scalars())
    if not ready:
        return []
    parameters = {"endpoint_ids": rows.ids(ready), "limit": limit, "per_minute": per_minute}
    found = sorted(connection.execute(text(CLAIM), parameters).mappings(), key=lambda row: row["id"])
    counts = _counts(found)
    connection.execute(text(COUNT_ATTEMPTS), counts | {"per_minute": per_minute})
    readiness.refresh(connection, ready)
    return _with_secrets(connection, found)


def release(connection: Connection, deliveries: Sequence[ClaimedDelivery]) -> None:
    """Ends leases without an attempt: the deliveries are due again. A lease that is lost changes nothing."""
    readiness.lock(connection, {delivery.endpoint_id for delivery in deliveries})
    parameters = {
        "ids": rows.ids([delivery.id for delivery in deliveries]),
        "tokens": rows.ids([delivery.lease_token for delivery in deliveries]),
    }
    released = connection.execute(text(RELEASE), parameters).mappings().all()
    connection.execute(text(UNCOUNT_ATTEMPTS), _counts(released))
    job_order.supersede(connection, [row["id"] for row in released])
    job_order.arrange(
        connection, {(row["endpoint_id"], row["job_id"]) for row in released if row["job_id"] is not None}
    )
    readiness.refresh(connection, {row["endpoint_id"] for row in released})


def expired(connection: Connection, *, limit: int) -> list[ClaimedDelivery]:
    """Returns deliveries whose lease has ended without an outcome, the oldest first."""
    return [_claimed_from(row) for row in connection.execute(text(EXPIRED), {"limit": limit}).mappings()]


def _counts(claimed: Sequence[Row]) -> dict[str, Any]:
    """Returns the deliveries per endpoint, as parameters."""
    counts: dict[Any, int] = {}
    for row in claimed:
        counts[row["endpoint_id"]] = counts.get(row["endpoint_id"], 0) + 1
    return {"endpoint_ids": rows.ids(list(counts)), "attempts": list(counts.values())}


def _with_secrets(connection: Connection, claimed: Sequence[Row]) -> list[DeliveryClaim]:
    callbacks = {row["tenant"] for row in claimed if row["kind"] == "callback"}
    own = {row["endpoint_id"] for row in claimed if row["kind"] == "endpoint"}
    found = secrets.live_of_many(connection, endpoint_ids=own, tenants=callbacks)
    return [
        DeliveryClaim(
            delivery=_claimed_from(row),
            secrets=[
                secret
                for secret in found
                if secret.endpoint_id == (row["endpoint_id"] if row["kind"] == "endpoint" else None)
                and secret.tenant == row["tenant"]
            ],
        )
        for row in claimed
    ]


def _claimed_from(row: Row) -> ClaimedDelivery:
    fields = {name: value for name, value in row.items() if name != "kind"}
    return ClaimedDelivery(**(fields | {"scheme": SignatureScheme(row["scheme"]), "share": SlotShare(row["share"])}))
