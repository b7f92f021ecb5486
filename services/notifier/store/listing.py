"""Lists deliveries in keyset pages, newest first."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from common.sql import Connection, Row, text
from services.notifier.domain.deliveries import Delivery, DeliveryState, visible_state
from services.notifier.store.outcomes import attempt_from

#: Greater than every id of a delivery.
LAST_ID = UUID(int=2**128 - 1)
FIRST_ID = UUID(int=0)

# A delivery with its URL and its last attempt.
SHOWN = """
SELECT delivery.*, coalesce(delivery.url, endpoint.url) AS shown_url,
    endpoint.kind, endpoint.disabled_reason, endpoint.blocked_until,
    attempt.number, attempt.started_at, attempt.duration_ms, attempt.status, attempt.error, attempt.message,
    attempt.response, attempt.is_probe AS was_probe
FROM {found} AS delivery
JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
LEFT JOIN LATERAL (
    SELECT * FROM webhook_attempts WHERE delivery_id = delivery.id ORDER BY number DESC LIMIT 1) AS attempt ON true
"""

# The rows of one prefix of an index, in its order. Written so that no other index has this order: PostgreSQL might
# otherwise read all newer deliveries of others to find the few that match.
OWN_PAGE = """
SELECT * FROM webhook_deliveries
WHERE ({columns}) < ({values}, :before) AND ({columns}) >= ({values}, CAST('{first_id}' AS uuid)){condition}
ORDER BY {order} LIMIT :size
"""

# Origins of a tenant that was deleted go in batches.
OF_CALLBACKS = """
 AND url IS NOT NULL AND EXISTS (
    SELECT FROM webhook_endpoints WHERE webhook_endpoints.id = endpoint_id AND deleted_at IS NULL)
"""

# To every endpoint and callback URL, in the order of the index `webhook_deliveries_of_job`.
OF_JOB = """
(SELECT * FROM webhook_deliveries
    WHERE (tenant, job_id, id) < (:tenant, :job_id, :before) AND (tenant, job_id, id) >= (:tenant, :job_id, :first)
        AND job_id IS NOT NULL AND EXISTS (
            SELECT FROM webhook_endpoints WHERE webhook_endpoints.id = endpoint_id AND deleted_at IS NULL)
    ORDER BY tenant DESC, job_id DESC, id DESC LIMIT :size)
"""
PAGE_OF_JOB = SHOWN.format(found=OF_JOB) + " ORDER BY delivery.id DESC"

GET = SHOWN.format(found="(SELECT * FROM webhook_deliveries WHERE id = :id)") + " WHERE endpoint.deleted_at IS NULL"  # noqa: S608


def page_statement(*, is_of_endpoint: bool, states: Sequence[DeliveryState] | None, has_type: bool) -> str:
    """Returns the statement of a page of an endpoint's deliveries, or of those to callback URLs.

    Reads one range of an index per state, however many deliveries have other states.
    """
    owner = {"endpoint_id": ":endpoint_id"} if is_of_endpoint else {"tenant": ":tenant"}
    by_type = {"event_type": ":event_type"} if has_type else {}
    prefixes = [owner | by_type] if states is None else [owner | {"state": f"'{state}'"} | by_type for state in states]
    condition = "" if is_of_endpoint else OF_CALLBACKS
    found = " UNION ALL ".join(f"({_own_page(prefix, condition)})" for prefix in prefixes)
    page = f"(SELECT * FROM ({found}) AS found ORDER BY id DESC LIMIT :size)"  # noqa: S608 - constants
    return f"{SHOWN.format(found=page)} ORDER BY delivery.id DESC"


def _own_page(prefix: Mapping[str, str], condition: str) -> str:
    columns = [*prefix, "id"]
    return OWN_PAGE.format(
        columns=", ".join(columns),
        values=", ".join(prefix.values()),
        order=", ".join(f"{column} DESC" for column in columns),
        first_id=FIRST_ID,
        condition=condition,
    )


def page(
    connection: Connection,
    tenant: str,
    endpoint_id: UUID | None,
    *,
    states: Sequence[DeliveryState] | None,
    event_type: str,
    before: UUID | None,
    size: int,
) -> list[Delivery]:
    """Returns up to `size` deliveries before an id, newest first; None for the first page.

    Those of an endpoint, or of the callback URLs of a tenant for None. `states` are the stored ones, None for all;
    `event_type` is "" for all.
    """
    if states is not None and not states:
        return []
    statement = page_statement(is_of_endpoint=endpoint_id is not None, states=states, has_type=bool(event_type))
    parameters = {
        "tenant": tenant,
        "endpoint_id": endpoint_id,
        "event_type": event_type,
        "before": before or LAST_ID,
        "size": size,
    }
    bound = {name: value for name, value in parameters.items() if f":{name}" in statement}
    found = connection.execute(text(statement), bound, is_prepared=False)
    return [_delivery_from(row) for row in found.mappings()]


def page_of_job(connection: Connection, tenant: str, job_id: str, *, before: UUID | None, size: int) -> list[Delivery]:
    """Returns up to `size` deliveries about a job before an id, newest first; None for the first page."""
    parameters = {"tenant": tenant, "job_id": job_id, "before": before or LAST_ID, "first": FIRST_ID, "size": size}
    found = connection.execute(text(PAGE_OF_JOB), parameters, is_prepared=False)
    return [_delivery_from(row) for row in found.mappings()]


def get(connection: Connection, delivery_id: UUID) -> tuple[str, Delivery] | None:
    """Returns a delivery with its tenant; None if there is none, or its endpoint is deleted."""
    row = connection.execute(text(GET), {"id": delivery_id}).mappings().first()
    return None if row is None else (row["tenant"], _delivery_from(row))


def endpoint_of(connection: Connection, delivery_id: UUID) -> UUID | None:
    """Returns the endpoint of a delivery, which may be an origin of callback URLs; None if it was deleted."""
    statement = text("SELECT endpoint_id FROM webhook_deliveries WHERE id = :id")
    found: UUID | None = connection.execute(statement, {"id": delivery_id}).scalar()
    return found


def _delivery_from(row: Row) -> Delivery:
    stored = DeliveryState(row["state"])
    state = visible_state(stored, is_disabled=row["disabled_reason"] is not None)
    due_at, blocked_until = row["due_at"], row["blocked_until"]
    is_due = state is DeliveryState.PENDING and due_at is not None
    return Delivery(
        id=row["id"],
        endpoint_id=None if row["kind"] == "callback" else row["endpoint_id"],
        url=row["shown_url"],
        event_type=row["event_type"],
        job_id=row["job_id"],
        sequence=row["sequence"],
        state=state,
        attempt_count=row["attempt_count"],
        occurred_at=row["occurred_at"],
        created_at=row["created_at"],
        next_attempt_at=max(due_at, blocked_until or due_at) if is_due else None,
        delivered_at=row["ended_at"] if state is DeliveryState.DELIVERED else None,
        last_attempt=None if row["number"] is None else attempt_from(row, is_probe=row["was_probe"]),
    )
