"""The table `idempotency_keys`: the job of each idempotency key.

A key is stored as a digest, which cannot equal a key, as it contains a space. Keys of the version before digests are
stored as they were sent until the purger replaces them, so every query matches both forms.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from common.sql import Connection, text

# The two forms of a key would not conflict, so all requests with one key run one after the other.
LOCK_KEY = """
SELECT pg_advisory_xact_lock(hashtextextended(:digest, 0))
"""

# In a second statement: it sees the rows of the transactions that the lock waited for.
READ_KEY = """
SELECT fingerprint, job_id FROM idempotency_keys
WHERE tenant = :tenant AND scope = :scope AND key IN (:key, :digest) LIMIT 1
"""

# Stored as it was sent while a job-service of the version before digests may still run.
INSERT_KEY = """
INSERT INTO idempotency_keys (tenant, scope, key, fingerprint, job_id, created_at)
SELECT :tenant, :scope, CASE WHEN min(since) <= clock_timestamp() THEN :digest ELSE :key END, :fingerprint, :job_id,
    clock_timestamp()
FROM idempotency_digests
ON CONFLICT DO NOTHING
"""

# In the order of the locks, as each transaction that locks several keys does, so that none waits in a circle.
LOCK_KEYS = """
SELECT pg_advisory_xact_lock(hash) FROM (
    SELECT DISTINCT hashtextextended(digest, 0) AS hash FROM unnest(CAST(:digests AS text[])) AS digest ORDER BY hash
) AS ordered
"""

READ_KEYS = """
SELECT key, fingerprint, job_id FROM idempotency_keys
WHERE tenant = :tenant AND scope = :scope AND key = ANY(:stored)
"""

# As `INSERT_KEY` does.
INSERT_KEYS = """
INSERT INTO idempotency_keys (tenant, scope, key, fingerprint, job_id, created_at)
SELECT :tenant, :scope,
    CASE WHEN (SELECT min(since) FROM idempotency_digests) <= clock_timestamp() THEN entry.digest ELSE entry.key END,
    entry.fingerprint, entry.job_id, clock_timestamp()
FROM unnest(CAST(:keys AS text[]), CAST(:digests AS text[]), CAST(:fingerprints AS text[]), CAST(:job_ids AS text[]))
    AS entry (key, digest, fingerprint, job_id)
ORDER BY entry.digest
ON CONFLICT DO NOTHING
"""

# Computes the digest of the function `digest` in SQL.
REPLACE_KEYS = """
UPDATE idempotency_keys
SET key = 'sha256 ' || encode(sha256(convert_to(tenant || E'\\n' || scope || E'\\n' || key, 'UTF8')), 'hex')
WHERE (tenant, scope, key) IN (
    SELECT tenant, scope, key FROM idempotency_keys
    WHERE key NOT LIKE 'sha256 %' AND (SELECT min(since) FROM idempotency_digests) <= clock_timestamp()
    ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED)
"""

# Two fingerprints whose 64-bit hashes are equal by chance wait for each other, which is harmless.
LOCK_FINGERPRINT = """
SELECT pg_advisory_xact_lock(hashtextextended(:tenant || ' ' || :scope || ' ' || :fingerprint, 0))
"""

# In a second statement: it sees the rows of the transactions that the lock waited for.
NEWEST_JOB_OF_FINGERPRINT = """
SELECT jobs.id FROM idempotency_keys AS entry
JOIN jobs ON jobs.id = entry.job_id AND jobs.deleted_at IS NULL
WHERE entry.tenant = :tenant AND entry.fingerprint = :fingerprint AND entry.scope = :scope
    AND entry.created_at > clock_timestamp() - make_interval(secs => :seconds)
ORDER BY jobs.created_at DESC, jobs.id DESC LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A caller's idempotency key."""

    #: Tenant of the caller; "" for operators.
    tenant: str
    #: Kind of request, such as `jobs` or `jobs/<id>/retry`.
    scope: str
    #: The key as it was sent.
    key: str


@dataclass(frozen=True, kw_only=True)
class FirstUse:
    """The request that used a key first."""

    #: Its fingerprint.
    fingerprint: str
    #: Its job.
    job_id: str


def digest(key: Key) -> str:
    """Returns the stored form of a key."""
    salted = "\n".join((key.tenant, key.scope, key.key))
    return f"sha256 {hashlib.sha256(salted.encode()).hexdigest()}"


def assign(connection: Connection, key: Key, *, fingerprint: str, job_id: str) -> FirstUse | None:
    """Assigns a key to a job, and returns None; if the key is used already, returns its first request."""
    where = _where(key)
    connection.defer(text(LOCK_KEY), {"digest": where["digest"]})
    if (row := connection.execute(text(READ_KEY), where).mappings().first()) is not None:
        return FirstUse(**row)
    inserted = connection.execute(text(INSERT_KEY), where | {"fingerprint": fingerprint, "job_id": job_id})
    if inserted.rowcount:
        return None
    # A job-service of the version before digests was first; a new statement sees its row.
    return FirstUse(**connection.execute(text(READ_KEY), where).mappings().one())


def lock_and_read(connection: Connection, tenant: str, scope: str, keys: Collection[str]) -> dict[str, FirstUse]:
    """Serializes requests with any of these keys until commit; returns the first request of each used key."""
    sent = {form: key for key in keys for form in (key, digest(Key(tenant=tenant, scope=scope, key=key)))}
    if not sent:
        return {}
    connection.defer(text(LOCK_KEYS), {"digests": [form for form in sent if sent[form] != form]})
    found = connection.execute(text(READ_KEYS), {"tenant": tenant, "scope": scope, "stored": list(sent)})
    return {sent[row.key]: FirstUse(fingerprint=row.fingerprint, job_id=row.job_id) for row in found}


def assign_all(connection: Connection, tenant: str, scope: str, uses: Mapping[str, FirstUse]) -> bool:
    """Assigns locked keys to jobs.

    Returns False when a job-service of the version before digests was first with one of them; then roll back.
    """
    parameters = {
        "tenant": tenant,
        "scope": scope,
        "keys": list(uses),
        "digests": [digest(Key(tenant=tenant, scope=scope, key=key)) for key in uses],
        "fingerprints": [use.fingerprint for use in uses.values()],
        "job_ids": [use.job_id for use in uses.values()],
    }
    return not uses or connection.execute(text(INSERT_KEYS), parameters).rowcount == len(uses)


def is_used(connection: Connection, key: Key) -> bool:
    """Whether the key was used in its scope."""
    return connection.execute(text(READ_KEY), _where(key)).first() is not None


def replace_keys(connection: Connection, *, limit: int) -> int:
    """Replaces up to `limit` keys by their digests, once no version needs them as sent; returns the number."""
    return connection.execute(text(REPLACE_KEYS), {"limit": limit}).rowcount


def _where(key: Key) -> dict[str, str]:
    return {"tenant": key.tenant, "scope": key.scope, "key": key.key, "digest": digest(key)}


def lock_fingerprint(connection: Connection, tenant: str, scope: str, fingerprint: str) -> None:
    """Serializes requests with one fingerprint until commit."""
    connection.defer(text(LOCK_FINGERPRINT), {"tenant": tenant, "scope": scope, "fingerprint": fingerprint})


def newest_job_of_fingerprint(
    connection: Connection, tenant: str, scope: str, fingerprint: str, *, within_seconds: float
) -> str | None:
    """Returns the newest job of a request with this fingerprint in the last seconds that is not deleted; or None."""
    where = {"tenant": tenant, "scope": scope, "fingerprint": fingerprint, "seconds": within_seconds}
    found: str | None = connection.execute(text(NEWEST_JOB_OF_FINGERPRINT), where).scalar()
    return found
