"""An identities file of a test's own."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from calotype import permissions

from common.grpc_access import ServerSecurity, ServerSettings, server_security

#: The token of the one identity that services which a test starts as processes let in.
OPERATOR = "on-call"


def digest(token: str) -> str:
    """Returns the digest of a token, as the file has it."""
    return hashlib.sha256(token.encode()).hexdigest()


def entry(name: str, *roles: str, token: str | None = None, **more: Any) -> dict[str, Any]:
    """Returns an identity; `token` None: its token is its name; empty: it has none."""
    token = name if token is None else token
    return {"name": name, "roles": list(roles), "token_sha256": [digest(token)] if token else []} | more


def write(path: Path, *entries: dict[str, Any]) -> Path:
    """The file, in one step."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(yaml.safe_dump({"identities": list(entries)}), encoding="utf-8")
    return fresh.replace(path)


def security_for(path: Path, **settings: Any) -> ServerSecurity:
    """Returns the server security of a service with that file."""
    chosen = ServerSettings(grpc_identities_file=path, **settings)
    return server_security(chosen, roles=permissions.ACCEPTED, policy=permissions.policy, changes=permissions.changes)
