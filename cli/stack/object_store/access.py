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
    """Permissions in a bucket."""

    #: Whether objects can be read without a credential.
    is_public: bool = False
    #: Permissions by identity.
    grants: Mapping[str, Collection[Permission]]


@dataclass(frozen=True, kw_only=True)
class Access:
    """All identities, buckets and permissions."""

    #: SHA-256 of each identity's token, hexadecimal.
    token_sha256: Mapping[str, str]
    #: Buckets by name. There are no others.
    buckets: Mapping[str, Bucket]

    def identify(self, authorization: str) -> str | None:
        """Returns the identity of a header `Authorization`; None without a known token."""
        scheme, _, token = authorization.partition(" ")
        token_digest = digest(token.strip())
        # Every digest is compared, each in constant time.
        matching = [name for name, expected in self.token_sha256.items() if hmac.compare_digest(expected, token_digest)]
        return matching[0] if matching and scheme.lower() == "bearer" else None

    def allows(self, identity: str | None, permission: Permission, bucket: str) -> bool:
        """Whether an identity has a permission in a bucket; None is a caller without a credential."""
        settings = self.buckets.get(bucket)
        if settings is None:
            return False
        if settings.is_public and permission is Permission.READ:
            return True
        return identity is not None and permission in settings.grants.get(identity, ())

    def as_json(self) -> str:
        """The content of the file that `read` reads."""
        return json.dumps(asdict(self), default=sorted)


def read(file: Path) -> Access:
    """Reads a file written by `as_json`. Raises `OSError`, `ValueError`, `KeyError` or `TypeError`."""
    content = json.loads(file.read_text(encoding="utf-8"))
    buckets = {name: _bucket(fields) for name, fields in content["buckets"].items()}
    return Access(token_sha256=dict(content["token_sha256"]), buckets=buckets)


def digest(token: str) -> str:
    """SHA-256 of a token, hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _bucket(fields: Mapping[str, object]) -> Bucket:
    grants = fields["grants"]
    if not isinstance(grants, dict):
        raise TypeError("grants must be an object by identity")
    parsed = {name: frozenset(map(Permission, permissions)) for name, permissions in grants.items()}
    return Bucket(is_public=fields["is_public"] is True, grants=parsed)
