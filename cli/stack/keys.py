"""Keys of an embedded stack: made once per data folder, readable by their owner alone."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import yaml
from calotype.broker_users import MONITOR, USERS
from calotype.permissions import CLIENT, GENERATOR, OPERATOR, UPLOADER


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What clients and operators show to the gateway, the database's password, and what callers show over gRPC."""

    api_key: str
    operator_key: str
    database_password: str
    #: For whoever uses the stack's gRPC API.
    grpc_token: str
    gateway_token: str
    generator_token: str
    uploader_token: str
    #: What is shown to the object store.
    generator_storage_token: str
    uploader_storage_token: str
    #: What is shown to the message broker.
    job_nats_password: str
    generator_nats_password: str
    uploader_nats_password: str
    operator_nats_password: str
    monitor_nats_password: str

    @property
    def storage_tokens(self) -> Mapping[str, str]:
        """What each service shows to the object store."""
        return {"generator": self.generator_storage_token, "uploader": self.uploader_storage_token}

    @property
    def nats_passwords(self) -> Mapping[str, str]:
        """What each user of the message broker shows there."""
        return {one.name: getattr(self, f"{one.name}_nats_password") for one in (*USERS, MONITOR)}

    @property
    def service_tokens(self) -> Mapping[str, str]:
        """What each service shows to others over gRPC."""
        return {"gateway": self.gateway_token, "generator": self.generator_token, "uploader": self.uploader_token}


def load_or_make(folder: Path) -> tuple[Keys, Path]:
    """The keys of the folder, and the keys file that the gateway reads: hashes alone, and what its owner added."""
    kept = folder / "keys.json"
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    # A folder of an older version has some of them.
    keys = replace(_fresh(), **known)
    if asdict(keys) != known:
        write_private(kept, json.dumps(asdict(keys)))
    accepted = folder / "keys.yaml"
    digests = [_sha256(keys.api_key), _sha256(keys.operator_key)]
    if not accepted.exists() or any(digest not in accepted.read_text(encoding="utf-8") for digest in digests):
        write_private(accepted, _keys_file(keys))
    return keys, accepted


def write_identities(folder: Path, keys: Keys) -> Path:
    """The identities file that gRPC services read."""
    file = folder / "identities.yaml"
    entries = [
        _identity("gateway", keys.gateway_token, CLIENT, OPERATOR),
        _identity("generator", keys.generator_token, GENERATOR),
        _identity("uploader", keys.uploader_token, UPLOADER),
        _identity("user", keys.grpc_token, CLIENT, OPERATOR),
    ]
    write_private(file, yaml.safe_dump({"identities": entries}, sort_keys=False))
    return file


def _identity(name: str, token: str, *roles: str) -> dict[str, object]:
    tenants: object = "*" if CLIENT in roles else []
    return {"name": name, "roles": list(roles), "tenants": tenants, "token_sha256": [_sha256(token)]}


def _fresh() -> Keys:
    return Keys(
        api_key=f"ck_{secrets.token_urlsafe(32)}",
        operator_key=f"ck_{secrets.token_urlsafe(32)}",
        database_password=secrets.token_urlsafe(24),
        **{field.name: f"cg_{secrets.token_urlsafe(32)}" for field in fields(Keys) if field.name.endswith("_token")},
        **{field.name: f"cn_{secrets.token_urlsafe(32)}" for field in fields(Keys) if "_nats_" in field.name},
    )


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read, in one step."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _keys_file(keys: Keys) -> str:
    tenants = [("default", "tenant", keys.api_key), ("operator", "operator", keys.operator_key)]
    lines = [f'  - {{name: {name}, role: {role}, key_sha256: ["{_sha256(key)}"]}}' for name, role, key in tenants]
    return "\n".join(["tenants:", *lines, ""])


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
