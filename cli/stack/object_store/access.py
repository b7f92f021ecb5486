"""Authentication by bearer tokens, and the permissions of identities in buckets."""

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Permission(StrEnum):
    """A permission in a bucket."""

    READ = "read"
    """Read objects whose names are known."""
    LIST = "list"
    """List names."""
    WRITE = "write"
    """Create, replace and delete objects."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Permissions in a bucket, by identity; in a public one anybody has READ."""

    is_public: bool = False
    grants: Mapping[str, Collection[Permission]]


@dataclass(frozen=True, kw_only=True)
class Access:
    """Digests (SHA-256, hexadecimal) of tokens by identity, and buckets by name. There are no other buckets."""

    token_sha256: Mapping[str, str]
    buckets: Mapping[str, Bucket]

    def identify(self, authorization: str) -> str | None:
        """The identity of a header `Authorization`; None without a known token."""
        scheme, _, token = authorization.partition(" ")
        shown = digest(token.strip())
        # Every digest is compared, each in constant time.
        known = [name for name, kept in self.token_sha256.items() if hmac.compare_digest(kept, shown)]
        return known[0] if known and scheme.lower() == "bearer" else None

    def allows(self, identity: str | None, permission: Permission, bucket: str) -> bool:
        """Whether an identity, or None for anybody, has a permission in a bucket."""
        known = self.buckets.get(bucket)
        if known is None:
            return False
        if known.is_public and permission is Permission.READ:
            return True
        return identity is not None and permission in known.grants.get(identity, ())

    def as_json(self) -> str:
        """The content of the file that `read` reads."""
        return json.dumps(asdict(self), default=sorted)


def read(file: Path) -> Access:
    """Read a file written by `as_json`. Raises `OSError`, `ValueError`, `KeyError` or `TypeError`."""
    found = json.loads(file.read_text(encoding="utf-8"))
    buckets = {name: _bucket(one) for name, one in found["buckets"].items()}
    return Access(token_sha256=dict(found["token_sha256"]), buckets=buckets)


def digest(token: str) -> str:
    """SHA-256 of a token, hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _bucket(found: Mapping[str, object]) -> Bucket:
    grants = found["grants"]
    if not isinstance(grants, dict):
        raise TypeError("grants are by identity")
    parsed = {name: frozenset(map(Permission, permissions)) for name, permissions in grants.items()}
    return Bucket(is_public=found["is_public"] is True, grants=parsed)
