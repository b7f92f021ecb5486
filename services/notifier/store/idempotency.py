"""The table `webhook_requests`: what each idempotency key of a tenant created."""

from dataclasses import dataclass
from uuid import UUID

from common.sql import Connection, text

# A request with the same key waits for the first one's commit.
USE_KEY = """
INSERT INTO webhook_requests (tenant, method, key, fingerprint, created_id)
VALUES (:tenant, :method, :key, :fingerprint, :created_id)
ON CONFLICT DO NOTHING
"""

READ_KEY = """
SELECT fingerprint, created_id FROM webhook_requests WHERE tenant = :tenant AND method = :method AND key = :key
"""


@dataclass(frozen=True, kw_only=True)
class FirstUse:
    """The request that used a key first."""

    #: Its fingerprint.
    fingerprint: bytes
    #: Id of the object that it created.
    created_id: UUID


def take(
    connection: Connection, tenant: str, method: str, key: str, *, fingerprint: bytes, created_id: UUID
) -> FirstUse | None:
    """Assigns a key to the object that is created next, and returns None; for a used key, returns its first request."""
    where = {"tenant": tenant, "method": method, "key": key}
    if connection.execute(text(USE_KEY), where | {"fingerprint": fingerprint, "created_id": created_id}).rowcount:
        return None
    row = connection.execute(text(READ_KEY), where).mappings().one()
    return FirstUse(fingerprint=bytes(row["fingerprint"]), created_id=row["created_id"])


def delete_of_tenant(connection: Connection, tenant: str) -> None:
    """Deletes all keys of a tenant."""
    connection.execute(text("DELETE FROM webhook_requests WHERE tenant = :tenant"), {"tenant": tenant})
