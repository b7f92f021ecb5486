"""The table `webhook_secrets`: keys that sign deliveries.

A key of no endpoint signs deliveries to the callback URLs of its tenant's jobs.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from common.ids import new_uuid7
from common.sql import Connection, text
from services.notifier.domain.endpoints import Secret
from services.notifier.store import rows

# Rotations and the creation of a tenant's signing secret run one after the other.
LOCK_OWNER = "SELECT pg_advisory_xact_lock(hashtextextended('webhook secret of ' || :owner, 0))"

LIVE = """
SELECT * FROM webhook_secrets
WHERE tenant = :tenant AND endpoint_id IS NOT DISTINCT FROM CAST(:endpoint_id AS uuid)
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY created_at DESC, id DESC
"""

LIVE_OF_MANY = """
SELECT * FROM webhook_secrets
WHERE (endpoint_id = ANY(CAST(:endpoint_ids AS uuid[]))
        OR tenant = ANY(CAST(:tenants AS text[])) AND endpoint_id IS NULL)
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY created_at DESC, id DESC
"""

ADD = """
INSERT INTO webhook_secrets (id, tenant, endpoint_id, key)
VALUES (:id, :tenant, CAST(:endpoint_id AS uuid), :key)
RETURNING *
"""

# Fetched first or used first, by several at once: one of them is kept.
ADD_FOR_TENANTS = """
INSERT INTO webhook_secrets (id, tenant, key)
SELECT id, tenant, decode(key, 'hex')
FROM jsonb_to_recordset(CAST(:secrets AS jsonb)) AS secret (id uuid, tenant text, key text)
WHERE NOT EXISTS (
    SELECT FROM webhook_secrets AS current
    WHERE current.tenant = secret.tenant AND current.endpoint_id IS NULL AND current.expires_at IS NULL)
ON CONFLICT DO NOTHING
"""

# Two secrets sign at most: the one before the previous one ends now.
RETIRE = """
UPDATE webhook_secrets SET expires_at = CASE
    WHEN expires_at IS NULL THEN clock_timestamp() + make_interval(secs => :grace_seconds)
    ELSE least(expires_at, clock_timestamp()) END
WHERE tenant = :tenant AND endpoint_id IS NOT DISTINCT FROM CAST(:endpoint_id AS uuid)
RETURNING expires_at
"""


def lock_owner(connection: Connection, tenant: str, endpoint_id: UUID | None) -> None:
    """Serializes changes of an owner's secrets until commit."""
    connection.execute(text(LOCK_OWNER), {"owner": f"{tenant} {endpoint_id or ''}"})


def live(connection: Connection, tenant: str, endpoint_id: UUID | None) -> list[Secret]:
    """Returns the secrets that sign now, newest first."""
    found = connection.execute(text(LIVE), {"tenant": tenant, "endpoint_id": endpoint_id}).mappings()
    return [rows.secret_from(row) for row in found]


def live_of_many(connection: Connection, *, endpoint_ids: Collection[UUID], tenants: Collection[str]) -> list[Secret]:
    """Returns the secrets of endpoints and the signing secrets of tenants that sign now, newest first."""
    parameters = {"endpoint_ids": rows.ids(sorted(endpoint_ids)), "tenants": sorted(tenants)}
    return [rows.secret_from(row) for row in connection.execute(text(LIVE_OF_MANY), parameters).mappings()]


def add(
    connection: Connection, tenant: str, endpoint_id: UUID | None, key: bytes, *, secret_id: UUID | None = None
) -> Secret:
    """Inserts the current secret of an owner that has none; returns it."""
    parameters = {"id": secret_id or new_uuid7(), "tenant": tenant, "endpoint_id": endpoint_id, "key": key}
    return rows.secret_from(connection.execute(text(ADD), parameters).mappings().one())


def add_for_tenants(connection: Connection, keys: Mapping[str, bytes]) -> None:
    """Inserts signing secrets of tenants that have none, by tenant."""
    if keys:
        secrets = [{"id": new_uuid7(), "tenant": tenant, "key": key.hex()} for tenant, key in sorted(keys.items())]
        connection.execute(text(ADD_FOR_TENANTS), {"secrets": rows.as_parameter(secrets)})


def retire(connection: Connection, tenant: str, endpoint_id: UUID | None, *, grace_seconds: int) -> datetime | None:
    """Ends an owner's secrets, the current one after a grace period; returns the last end, None without secrets."""
    parameters = {"tenant": tenant, "endpoint_id": endpoint_id, "grace_seconds": grace_seconds}
    ends: list[datetime] = list(connection.execute(text(RETIRE), parameters).scalars())
    return max(ends, default=None)


def get(connection: Connection, secret_id: UUID) -> Secret | None:
    """Returns a secret by its id; None if it was deleted."""
    row = connection.execute(text("SELECT * FROM webhook_secrets WHERE id = :id"), {"id": secret_id}).mappings().first()
    return None if row is None else rows.secret_from(row)


def delete(connection: Connection, tenant: str, *, endpoint_id: UUID | None = None) -> None:
    """Deletes the secrets of one endpoint, or all of the tenant for None."""
    condition = "" if endpoint_id is None else " AND endpoint_id = :endpoint_id"
    statement = text(f"DELETE FROM webhook_secrets WHERE tenant = :tenant{condition}")  # noqa: S608 - constants
    connection.execute(statement, {"tenant": tenant} | ({"endpoint_id": endpoint_id} if endpoint_id else {}))
