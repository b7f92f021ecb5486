"""Callers that are known by a key, and how one is found among them."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.auth import client_tokens
from gateway.auth.client_tokens import Grant

Role = Literal["tenant", "operator"]
ANY_ORIGIN = "*"


@dataclass(frozen=True, kw_only=True)
class TenantQuota:
    """What a tenant may have, ask for, use and spend at most; None is no limit.

    `allowed_providers` holds `provider` or `provider/model`; budgets are in millionths of a US dollar.
    """

    max_in_flight: int | None = None
    max_queued: int | None = None
    requests_per_minute: int | None = None
    max_high_priority: int | None = None
    allowed_providers: tuple[str, ...] | None = None
    budget_micros_per_day: int | None = None
    budget_micros_per_month: int | None = None

    @property
    def are_told_before(self) -> bool:
        """Whether job-service has to know of them before it takes a job, which does not bring them."""
        return (self.allowed_providers, self.budget_micros_per_day, self.budget_micros_per_month) != (None, None, None)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who asks, and as what: with a key, with a client token's `grant`, or from this machine with neither."""

    tenant: str
    role: Role = "tenant"
    limits: TenantQuota = field(default_factory=TenantQuota)
    cors_origins: frozenset[str] = frozenset()
    #: Digest of the key that vouches for the caller, or for its token.
    key_sha256: str | None = field(default=None, repr=False)
    grant: Grant | None = None
    #: Of a client token: the first 8 hex digits of its SHA-256.
    token_id: str | None = None

    def allowed_origin(self, origin: str) -> str | None:
        """What an answer to a page of that origin names as allowed."""
        return _allowed(origin, self.cors_origins)


class Keyring:
    """All callers of a keys file, one for each key; a tenant without keys is there once, without one."""

    def __init__(self, principals: Iterable[Principal] = ()) -> None:
        self._principals = tuple(principals)
        self._origins = frozenset(origin for one in self._principals for origin in one.cors_origins)

    def __len__(self) -> int:
        return sum(one.key_sha256 is not None for one in self._principals)

    def by_key(self, secret: str) -> Principal | None:
        """Whose key this is."""
        digest = hashlib.sha256(secret.encode("utf-8")).hexdigest()
        # Every key is compared, so that the time tells nothing about which one was near.
        matches = [one for one in self._principals if hmac.compare_digest(one.key_sha256 or "", digest)]
        return matches[0] if matches else None

    def by_token(self, token: str) -> Principal | None:
        """On whose behalf a client token speaks, expired or not; never as an operator."""
        found = client_tokens.read(token, [one.key_sha256 for one in self._principals if one.key_sha256 is not None])
        if found is None:
            return None
        digest, grant = found
        owner = next(one for one in self._principals if one.key_sha256 == digest)
        token_id = hashlib.sha256(token.encode("ascii")).hexdigest()[:8]
        return replace(owner, role="tenant", grant=grant, token_id=token_id)

    def of_tenant(self, name: str) -> Principal | None:
        """A tenant, by the first of its keys."""
        return next((one for one in self._principals if one.tenant == name), None)

    def tenants(self) -> dict[str, TenantQuota]:
        """What each tenant may have, by its name."""
        return {one.tenant: one.limits for one in self._principals}

    def vouches(self, principal: Principal) -> bool:
        """Whether the caller's key still belongs to its tenant; true for a caller that came without one."""
        return principal.key_sha256 is None or any(
            one.key_sha256 == principal.key_sha256 and one.tenant == principal.tenant for one in self._principals
        )

    def allowed_origin(self, origin: str) -> str | None:
        """The same as `Principal.allowed_origin`, for whichever tenant will ask."""
        return _allowed(origin, self._origins)


def _allowed(origin: str, allowed: frozenset[str]) -> str | None:
    if origin in allowed:
        return origin
    return ANY_ORIGIN if ANY_ORIGIN in allowed else None
