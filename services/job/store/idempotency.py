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

# Two that share the 64 bits of this hash by chance wait for each other, and nothing worse.
TAKE_TURN = """
SELECT pg_advisory_xact_lock(hashtextextended(:tenant || ' ' || :scope || ' ' || :fingerprint, 0))
"""

# A second statement: it sees what those wrote that the first one waited for.
NEWEST_JOB_ASKED_FOR = """
SELECT jobs.id FROM idempotency_keys AS asked
JOIN jobs ON jobs.id = asked.job_id AND jobs.deleted_at IS NULL
WHERE asked.tenant = :tenant AND asked.fingerprint = :fingerprint AND asked.scope = :scope
    AND asked.created_at > clock_timestamp() - make_interval(secs => :seconds)
ORDER BY jobs.created_at DESC, jobs.id DESC LIMIT 1
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


def is_taken(connection: Connection, key: Key) -> bool:
    """Whether the key was used for this."""
    where = {"tenant": key.tenant, "scope": key.scope, "key": key.key}
    return connection.execute(text(READ_KEY), where).first() is not None


def take_turn(connection: Connection, tenant: str, scope: str, fingerprint: str) -> None:
    """Wait until no other transaction has the turn of the same fingerprint; keep it until this one ends."""
    connection.execute(text(TAKE_TURN), {"tenant": tenant, "scope": scope, "fingerprint": fingerprint})


def last_asked(
    connection: Connection, tenant: str, scope: str, fingerprint: str, *, within_seconds: float
) -> str | None:
    """The newest job that somebody asked for with this fingerprint so lately, unless it is deleted."""
    where = {"tenant": tenant, "scope": scope, "fingerprint": fingerprint, "seconds": within_seconds}
    found: str | None = connection.execute(text(NEWEST_JOB_ASKED_FOR), where).scalar()
    return found
