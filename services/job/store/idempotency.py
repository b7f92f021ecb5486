"""The table `idempotency_keys`: which key stands for which job.

A key is kept as a digest, which no key can be, as it holds a space. Those of the version before stand there as they
were sent, until the purger has replaced them; so every look is for both.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, text

# Two forms of a key would not conflict with each other: whoever looks for one waits until nobody else does.
LOCK_KEY = """
SELECT pg_advisory_xact_lock(hashtextextended(:digest, 0))
"""

# A second statement: it sees what those wrote that the first one waited for.
READ_KEY = """
SELECT fingerprint, job_id FROM idempotency_keys
WHERE tenant = :tenant AND scope = :scope AND key IN (:key, :digest) LIMIT 1
"""

# As it was sent while a job-service of the version before may look for it, which does not know digests.
TAKE_KEY = """
INSERT INTO idempotency_keys (tenant, scope, key, fingerprint, job_id, created_at)
SELECT :tenant, :scope, CASE WHEN min(since) <= clock_timestamp() THEN :digest ELSE :key END, :fingerprint, :job_id,
    clock_timestamp()
FROM idempotency_digests
ON CONFLICT DO NOTHING
"""

# The digest of `digest`, in SQL.
REPLACE_KEYS = """
UPDATE idempotency_keys
SET key = 'sha256 ' || encode(sha256(convert_to(tenant || E'\\n' || scope || E'\\n' || key, 'UTF8')), 'hex')
WHERE (tenant, scope, key) IN (
    SELECT tenant, scope, key FROM idempotency_keys
    WHERE key NOT LIKE 'sha256 %' AND (SELECT min(since) FROM idempotency_digests) <= clock_timestamp()
    ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED)
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


def digest(key: Key) -> str:
    """What is kept of a key."""
    salted = "\n".join((key.tenant, key.scope, key.key))
    return f"sha256 {hashlib.sha256(salted.encode()).hexdigest()}"


def take(connection: Connection, key: Key, *, fingerprint: str, job_id: str) -> Taken | None:
    """Let the key stand for the job; returns what it stands for already, if it does."""
    where = _where(key)
    connection.execute(text(LOCK_KEY), {"digest": where["digest"]})
    if (known := connection.execute(text(READ_KEY), where).mappings().first()) is not None:
        return Taken(**known)
    taken = connection.execute(text(TAKE_KEY), where | {"fingerprint": fingerprint, "job_id": job_id})
    if taken.rowcount:
        return None
    # One of the version before was first; a statement of its own sees what the last one waited for.
    return Taken(**connection.execute(text(READ_KEY), where).mappings().one())


def is_taken(connection: Connection, key: Key) -> bool:
    """Whether the key was used for this."""
    return connection.execute(text(READ_KEY), _where(key)).first() is not None


def replace_keys(connection: Connection, *, limit: int) -> int:
    """Replace keys as they were sent by their digests, once no version looks for the former any more; how many."""
    return connection.execute(text(REPLACE_KEYS), {"limit": limit}).rowcount


def _where(key: Key) -> dict[str, str]:
    return {"tenant": key.tenant, "scope": key.scope, "key": key.key, "digest": digest(key)}


def lock_fingerprint(connection: Connection, tenant: str, scope: str, fingerprint: str) -> None:
    """Wait until no other transaction has the turn of the same fingerprint; keep it until this one ends."""
    connection.execute(text(TAKE_TURN), {"tenant": tenant, "scope": scope, "fingerprint": fingerprint})


def newest_job_of_fingerprint(
    connection: Connection, tenant: str, scope: str, fingerprint: str, *, within_seconds: float
) -> str | None:
    """The newest job that somebody asked for with this fingerprint so lately, unless it is deleted."""
    where = {"tenant": tenant, "scope": scope, "fingerprint": fingerprint, "seconds": within_seconds}
    found: str | None = connection.execute(text(NEWEST_JOB_ASKED_FOR), where).scalar()
    return found
