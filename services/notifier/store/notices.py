"""The table `webhook_notices`: changes of an endpoint's health, for the tenant's other endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from common.ids import new_uuid7
from common.sql import Connection, Row, text
from services.notifier.domain.health import Notice
from services.notifier.store import readiness, rows

ADD = """
INSERT INTO webhook_notices (id, tenant, endpoint_id, type, data)
VALUES (:id, :tenant, :endpoint_id, :type, CAST(:data AS jsonb))
"""

TAKE = """
DELETE FROM webhook_notices WHERE id IN (
    SELECT id FROM webhook_notices ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id, tenant, endpoint_id, type, CAST(data AS text) AS data, occurred_at
"""

LOCK_ENDPOINTS = """
SELECT * FROM webhook_endpoints
WHERE tenant = ANY(CAST(:tenants AS text[])) AND kind = 'endpoint' AND deleted_at IS NULL AND disabled_reason IS NULL
ORDER BY id FOR UPDATE
"""

CREATE_DELIVERIES = """
INSERT INTO webhook_deliveries (id, endpoint_id, tenant, event_type, occurred_at, data, state, due_at)
SELECT id, endpoint_id, tenant, event_type, occurred_at, CAST(data AS jsonb), 'pending', now()
FROM jsonb_to_recordset(CAST(:deliveries AS jsonb)) AS delivery (
    id uuid, endpoint_id uuid, tenant text, event_type text, occurred_at timestamptz, data text)
"""


def add(connection: Connection, *, tenant: str, endpoint_id: UUID, notice: Notice, data: str) -> None:
    """Inserts a notice; `data` is JSON."""
    parameters = {"id": new_uuid7(), "tenant": tenant, "endpoint_id": endpoint_id, "type": notice, "data": data}
    connection.execute(text(ADD), parameters)


def fan_out(connection: Connection, *, limit: int) -> tuple[int, int]:
    """Turns notices into deliveries to the tenants' other enabled endpoints; returns the numbers of both."""
    taken = connection.execute(text(TAKE), {"limit": limit}).mappings().all()
    if not taken:
        return 0, 0
    parameters = {"tenants": sorted({notice["tenant"] for notice in taken})}
    locked = connection.execute(text(LOCK_ENDPOINTS), parameters).mappings().all()
    deliveries = [
        _delivery(notice, endpoint)
        for notice in sorted(taken, key=lambda notice: notice["id"])
        for endpoint in locked
        if _is_wanted(notice, endpoint)
    ]
    if deliveries:
        connection.execute(text(CREATE_DELIVERIES), {"deliveries": rows.as_parameter(deliveries)})
        readiness.refresh(connection, {delivery["endpoint_id"] for delivery in deliveries})
    return len(taken), len(deliveries)


def _is_wanted(notice: Row, endpoint: Row) -> bool:
    types: Sequence[str] = endpoint["event_types"]
    return (
        endpoint["tenant"] == notice["tenant"]
        and endpoint["id"] != notice["endpoint_id"]
        and (not types or notice["type"] in types)
    )


def _delivery(notice: Row, endpoint: Row) -> Mapping[str, Any]:
    return {
        "id": new_uuid7(),
        "endpoint_id": endpoint["id"],
        "tenant": notice["tenant"],
        "event_type": notice["type"],
        "occurred_at": notice["occurred_at"].isoformat(),
        "data": notice["data"],
    }
