"""Principals with an API key, and how a key or client token is matched to one of them."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from gateway.auth import client_tokens
from gateway.auth.client_tokens import Grant

Role = Literal["tenant", "operator"]
ANY_ORIGIN = "*"


@dataclass(frozen=True, kw_only=True)
class TenantQuota:
    """Limits of a tenant; None means unlimited."""

    max_in_flight: int | None = None
    """Jobs that generators hold at the same time; others wait in the queue."""
    max_queued: int | None = None
    """Jobs that wait in the queue; a further one is refused."""
    requests_per_minute: int | None = None
    """HTTP requests of any kind, evenly over a minute."""
    max_high_priority: int | None = None
    """Jobs of high priority that are in the queue or held by generators."""
    allowed_providers: tuple[str, ...] | None = None
    """Each `provider` or `provider/model`; None: all of them."""
    budget_micros_per_day: int | None = None
    """Millionths of a US dollar per day in UTC."""
    budget_micros_per_month: int | None = None
    """Millionths of a US dollar per calendar month in UTC."""

    @property
    def needs_registration(self) -> bool:
        """Whether job-service must store these limits before it accepts a job, as the job does not carry them."""
        return (self.allowed_providers, self.budget_micros_per_day, self.budget_micros_per_month) != (None, None, None)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The authenticated sender of a request: with a key, with a client token, or local with neither."""

    tenant: str
    """Name of the tenant that owns the jobs."""
    role: Role = "tenant"
    """`operator` may also use `/v1/admin`."""
    limits: TenantQuota = field(default_factory=TenantQuota)
    """Limits of the tenant."""
    cors_origins: frozenset[str] = frozenset()
    """Origins whose pages may read responses; `*` allows any."""
    #: Hex SHA-256 of the API key, or of the key that signed the client token; None for a local request without a key.
    key_sha256: str | None = field(default=None, repr=False)
    #: When the key ends, and every client token that it signed; None: never.
    key_expires_at: datetime | None = None
    grant: Grant | None = None
    """What the client token allows; None: not restricted to one job."""
    #: The first 8 hex digits of the client token's SHA-256, for logs; None without a token.
    token_id: str | None = None

    def has_expired(self, now: datetime) -> bool:
        """Returns whether the key has ended; False for a principal without a key."""
        return self.key_expires_at is not None and self.key_expires_at <= now

    def allowed_origin(self, origin: str) -> str | None:
        """Returns the Access-Control-Allow-Origin for a page of this origin; None: not allowed."""
        return _allowed(origin, self.cors_origins)


class Keyring:
    """All principals of a keys file: one for each key, and one without a key for a tenant that has none."""

    def __init__(self, principals: Iterable[Principal] = ()) -> None:
        self._principals = tuple(principals)
        # By a keyed hash of the digest: how long a look-up takes says nothing about a key, and many keys cost no more.
        self._hash_key = secrets.token_bytes(32)
        self._by_hash: dict[bytes, Principal] = {}
        for principal in self._principals:
            if principal.key_sha256 is not None:
                self._by_hash.setdefault(self._hash(principal.key_sha256), principal)
        self._origins = frozenset(origin for principal in self._principals for origin in principal.cors_origins)

    def __len__(self) -> int:
        return sum(principal.key_sha256 is not None for principal in self._principals)

    def by_key(self, secret: str) -> Principal | None:
        """Returns the principal of an API key, expired or not; None for an unknown key."""
        digest = hashlib.sha256(secret.encode("utf-8")).hexdigest()
        found = self._by_hash.get(self._hash(digest))
        return found if found is not None and hmac.compare_digest(found.key_sha256 or "", digest) else None

    def _hash(self, digest: str) -> bytes:
        return hashlib.blake2b(digest.encode("ascii"), key=self._hash_key, digest_size=32).digest()

    def by_token(self, token: str) -> Principal | None:
        """Returns the principal of a client token, expired or not, never as an operator; None for an unknown token."""
        digests = [principal.key_sha256 for principal in self._principals if principal.key_sha256 is not None]
        signed = client_tokens.read(token, digests)
        if signed is None:
            return None
        digest, grant = signed
        owner = next(principal for principal in self._principals if principal.key_sha256 == digest)
        token_id = hashlib.sha256(token.encode("ascii")).hexdigest()[:8]
        return replace(owner, role="tenant", grant=grant, token_id=token_id)

    def of_tenant(self, name: str) -> Principal | None:
        """Returns the principal of a tenant's first key; None for an unknown tenant."""
        return next((principal for principal in self._principals if principal.tenant == name), None)

    def signer(self, tenant: str, now: datetime) -> Principal | None:
        """Returns the principal of a tenant's first key that has not expired; None without one."""
        keys = (principal for principal in self._principals if principal.tenant == tenant and principal.key_sha256)
        return next((principal for principal in keys if not principal.has_expired(now)), None)

    def ends(self) -> dict[Principal, datetime]:
        """Returns when tenants lose their access: the principal of the last key to end, for each tenant that has one.

        A tenant without keys, or with a key without an end, is left out.
        """
        last: dict[str, tuple[Principal, datetime]] = {}
        endless = set()
        for principal in self._principals:
            end = principal.key_expires_at
            if end is None:
                endless.add(principal.tenant)
            elif principal.tenant not in last or last[principal.tenant][1] < end:
                last[principal.tenant] = (principal, end)
        return {principal: end for tenant, (principal, end) in last.items() if tenant not in endless}

    def tenants(self) -> dict[str, TenantQuota]:
        """Returns the limits of each tenant by its name."""
        return {principal.tenant: principal.limits for principal in self._principals}

    def is_current(self, principal: Principal) -> bool:
        """Returns whether the principal's key still belongs to its tenant; True for a principal without a key."""
        return principal.key_sha256 is None or any(
            known.key_sha256 == principal.key_sha256 and known.tenant == principal.tenant for known in self._principals
        )

    def allowed_origin(self, origin: str) -> str | None:
        """Returns the Access-Control-Allow-Origin if any tenant allows this origin; None: not allowed."""
        return _allowed(origin, self._origins)


def _allowed(origin: str, allowed: frozenset[str]) -> str | None:
    if origin in allowed:
        return origin
    return ANY_ORIGIN if ANY_ORIGIN in allowed else None
