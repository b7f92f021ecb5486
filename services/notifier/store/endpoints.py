"""The table `webhook_endpoints`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from common.sql import Connection, Row, text
from services.notifier.domain.endpoints import Endpoint, SignatureScheme
from services.notifier.domain.health import EndpointHealth
from services.notifier.store import rows

# Creations of one tenant run one after the other, so that together they keep the quota.
LOCK_TENANT = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks of ' || :tenant, 0))"

COUNT = "SELECT count(*) FROM webhook_endpoints WHERE tenant = :tenant AND kind = 'endpoint' AND deleted_at IS NULL"

CREATE = """
INSERT INTO webhook_endpoints (id, tenant, kind, url, description, event_types, scheme)
VALUES (:id, :tenant, 'endpoint', :url, :description, CAST(:event_types AS text[]), :scheme)
RETURNING *
"""

GET = "SELECT * FROM webhook_endpoints WHERE id = :id AND deleted_at IS NULL"

# The time is read after the lock was awaited.
LOCK_NOW = """
WITH locked AS MATERIALIZED (SELECT * FROM webhook_endpoints WHERE id = :id AND deleted_at IS NULL FOR UPDATE)
SELECT locked.*, clock_timestamp() AS now FROM locked
"""

PAGE = """
SELECT * FROM webhook_endpoints
WHERE tenant = :tenant AND kind = 'endpoint' AND deleted_at IS NULL AND id > :after
ORDER BY id LIMIT :size
"""

# In the order of the index `webhook_endpoints_unhealthy`, from its end: null, of an open circuit breaker, is the last.
UNHEALTHY = """
SELECT * FROM webhook_endpoints
WHERE deleted_at IS NULL AND (disabled_reason IS NOT NULL OR openings > 0)
ORDER BY disabled_reason DESC, id DESC LIMIT :limit
"""

CHANGE = """
UPDATE webhook_endpoints
SET url = :url, description = :description, event_types = CAST(:event_types AS text[]), updated_at = clock_timestamp()
WHERE id = :id RETURNING *
"""

WRITE_HEALTH = """
UPDATE webhook_endpoints SET
    failing_since = :failing_since, points = :points, window_started_at = :window_started_at,
    window_attempts = :window_attempts, window_points = :window_points, openings = :openings,
    blocked_until = :blocked_until, is_slow = :is_slow, last_error = :last_error, last_status = :last_status,
    disabled_reason = :disabled_reason, disabled_at = :disabled_at,
    is_holding = CAST(:disabled_reason AS text) IS NOT NULL AND (is_holding OR disabled_reason IS NULL),
    ready_at = CASE WHEN CAST(:disabled_reason AS text) IS NULL THEN ready_at END
WHERE id = :id RETURNING *
"""

DELETE = "UPDATE webhook_endpoints SET deleted_at = clock_timestamp(), ready_at = NULL WHERE id = :id"

DELETE_OF_TENANT = """
UPDATE webhook_endpoints SET deleted_at = clock_timestamp(), ready_at = NULL
WHERE id IN (SELECT id FROM webhook_endpoints WHERE tenant = :tenant AND deleted_at IS NULL ORDER BY id FOR UPDATE)
RETURNING kind
"""

MARK_SLOW = "UPDATE webhook_endpoints SET is_slow = true WHERE id = :id AND NOT is_slow"

FIRST_ID = UUID(int=0)


def lock_tenant(connection: Connection, tenant: str) -> None:
    """Serializes creations of a tenant's endpoints until commit."""
    connection.execute(text(LOCK_TENANT), {"tenant": tenant})


def count(connection: Connection, tenant: str) -> int:
    """Returns the number of endpoints that a tenant has created."""
    number: int = connection.execute(text(COUNT), {"tenant": tenant}).scalar_one()
    return number


def create(
    connection: Connection,
    endpoint_id: UUID,
    *,
    tenant: str,
    url: str,
    description: str,
    event_types: Sequence[str],
    scheme: SignatureScheme,
) -> Endpoint:
    """Inserts an endpoint."""
    parameters = {
        "id": endpoint_id,
        "tenant": tenant,
        "url": url,
        "description": description,
        "event_types": list(event_types),
        "scheme": scheme,
    }
    return rows.endpoint_from(_one(connection, CREATE, parameters))


def get(connection: Connection, endpoint_id: UUID, *, locked: bool = False) -> Endpoint | None:
    """Returns an endpoint of any kind that is not deleted, with its row lock if `locked`; None for none."""
    statement = text(f"{GET} FOR UPDATE" if locked else GET)
    row = connection.execute(statement, {"id": endpoint_id}).mappings().first()
    return None if row is None else rows.endpoint_from(row)


def lock_now(connection: Connection, endpoint_id: UUID) -> tuple[Endpoint, datetime] | None:
    """Locks an endpoint that is not deleted; returns it with the database's time, None for none."""
    row = connection.execute(text(LOCK_NOW), {"id": endpoint_id}).mappings().first()
    return None if row is None else (rows.endpoint_from(row), row["now"])


def page(connection: Connection, tenant: str, *, after: UUID | None, size: int) -> list[Endpoint]:
    """Returns up to `size` of a tenant's endpoints after an id, oldest first; None for the first page."""
    parameters = {"tenant": tenant, "after": after or FIRST_ID, "size": size}
    return [rows.endpoint_from(row) for row in connection.execute(text(PAGE), parameters).mappings()]


def unhealthy(connection: Connection, *, limit: int) -> list[Endpoint]:
    """Returns up to `limit` endpoints and origins of callback URLs, of all tenants, that get few or no deliveries.

    Those with an open circuit breaker come first, then disabled ones.
    """
    return [rows.endpoint_from(row) for row in connection.execute(text(UNHEALTHY), {"limit": limit}).mappings()]


def change(
    connection: Connection, endpoint_id: UUID, *, url: str, description: str, event_types: Sequence[str]
) -> Endpoint:
    """Writes the settings of a locked endpoint."""
    parameters = {"id": endpoint_id, "url": url, "description": description, "event_types": list(event_types)}
    return rows.endpoint_from(_one(connection, CHANGE, parameters))


def write_health(connection: Connection, endpoint_id: UUID, health: EndpointHealth) -> Endpoint:
    """Writes the health of a locked endpoint; one that becomes disabled begins to hold its deliveries."""
    return rows.endpoint_from(_one(connection, WRITE_HEALTH, asdict(health) | {"id": endpoint_id}))


def mark_slow(connection: Connection, endpoint_id: UUID) -> bool:
    """Bounds an endpoint to the slow share; returns whether it was not before."""
    return connection.execute(text(MARK_SLOW), {"id": endpoint_id}).rowcount > 0


def delete(connection: Connection, endpoint_id: UUID) -> None:
    """Hides a locked endpoint; its rows are deleted in batches."""
    connection.execute(text(DELETE), {"id": endpoint_id})


def delete_of_tenant(connection: Connection, tenant: str) -> list[str]:
    """Hides all endpoints of a tenant; returns their kinds."""
    return list(connection.execute(text(DELETE_OF_TENANT), {"tenant": tenant}).scalars())


def _one(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> Row:
    return connection.execute(text(statement), parameters).mappings().one()
