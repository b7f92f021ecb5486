"""The table `idempotency_keys`: which key stands for which job."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

TAKE_KEY = """
INSERT INTO idempotency_keys (tenant, scope, key, fingerprint, job_id, created_at)
VALUES (:tenant, :scope, :key, :fingerprint, :job_id, clock_timestamp())
ON CONFLICT DO NOTHING
"""

# A second statement: it sees the rival that the first one waited for.
READ_KEY = """
SELECT fingerprint, job_id FROM idempotency_keys WHERE tenant = :tenant AND scope = :scope AND key = :key
"""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A caller's key; `scope` says for what it was used."""

    tenant: str
    scope: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a key stands for."""

    fingerprint: str
    job_id: str


def take(connection: Connection, key: Key, *, fingerprint: str, job_id: str) -> Taken | None:
    """Let the key stand for the job; returns what it stands for already, if it does."""
    where = {"tenant": key.tenant, "scope": key.scope, "key": key.key}
    taken = connection.execute(text(TAKE_KEY), where | {"fingerprint": fingerprint, "job_id": job_id})
    if taken.rowcount:
        return None
    row = connection.execute(text(READ_KEY), where).mappings().one()
    return Taken(**row)
