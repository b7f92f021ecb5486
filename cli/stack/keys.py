"""Keys, tokens and passwords of an embedded stack: made once per data folder, readable only by their owner."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import yaml
from calotype.broker_users import MONITOR, USERS
from calotype.permissions import CLIENT, GENERATOR, NOTIFIER, OPERATOR, UPLOADER

#: Fields of `Keys` with the stack's own keys for the gateway, by tenant of the keys file.
STACK_KEYS = {"default": "api_key", "operator": "operator_key"}


@dataclass(frozen=True, kw_only=True)
class Keys:
    """All credentials of a stack."""

    #: Gateway key of the tenant `default`.
    api_key: str
    #: Gateway key of the operator.
    operator_key: str
    #: Password of job-service's database role.
    database_password: str
    #: Password of the notifier's database role.
    notifier_database_password: str
    #: gRPC token of the stack's user, a client and operator.
    grpc_token: str
    #: gRPC token of the gateway.
    gateway_token: str
    #: gRPC token of the generator.
    generator_token: str
    #: gRPC token of the uploader.
    uploader_token: str
    #: gRPC token of the notifier.
    notifier_token: str
    #: The generator's token for the object store.
    generator_storage_token: str
    #: The uploader's token for the object store.
    uploader_storage_token: str
    #: Broker password of job-service.
    job_nats_password: str
    #: Broker password of the generator.
    generator_nats_password: str
    #: Broker password of the uploader.
    uploader_nats_password: str
    #: Broker password of the notifier.
    notifier_nats_password: str
    #: Broker password of the user `operator`, who may do everything.
    operator_nats_password: str
    #: Broker password of the user `monitor`, who may read health and settings.
    monitor_nats_password: str

    @property
    def database_passwords(self) -> Mapping[str, str]:
        """Passwords of the database's roles, by service."""
        return {"job": self.database_password, "notifier": self.notifier_database_password}

    @property
    def storage_tokens(self) -> Mapping[str, str]:
        """Tokens for the object store, by service."""
        return {"generator": self.generator_storage_token, "uploader": self.uploader_storage_token}

    @property
    def nats_passwords(self) -> Mapping[str, str]:
        """Passwords of the message broker, by user."""
        return {user.name: getattr(self, f"{user.name}_nats_password") for user in (*USERS, MONITOR)}

    @property
    def service_tokens(self) -> Mapping[str, str]:
        """Tokens for gRPC, by service."""
        names = ("gateway", "generator", "uploader", "notifier")
        return {name: getattr(self, f"{name}_token") for name in names}


def load_or_create(folder: Path) -> tuple[Keys, Path]:
    """Returns the keys of the folder and the path of the gateway's keys file; makes what is missing.

    A keys file that exists is the owner's and is not changed: a key that its owner took out stays refused.
    """
    stored = folder / "keys.json"
    known = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    # A folder of an older version has only some of them.
    keys = replace(_fresh(), **known)
    if asdict(keys) != known:
        write_private(stored, json.dumps(asdict(keys)))
    accepted = folder / "keys.yaml"
    if not accepted.exists():
        write_private(accepted, _keys_file(keys))
    return keys, accepted


def refused_keys(keys: Keys, accepted: Path) -> list[str]:
    """Returns the names in `STACK_KEYS` of the stack's own keys that the gateway's keys file does not list."""
    listed = accepted.read_text(encoding="utf-8")
    return [name for name, field in STACK_KEYS.items() if _sha256(getattr(keys, field)) not in listed]


def replace_key(folder: Path, name: str) -> str:
    """Makes a new key for `default` or `operator` in the folder's files, and returns it; the old one is refused then.

    Only the digest changes in the gateway's keys file. Raises `LookupError` where the file does not list the old key.
    """
    keys, accepted = load_or_create(folder)
    old: str = getattr(keys, STACK_KEYS[name])
    if name in refused_keys(keys, accepted):
        raise LookupError(name)
    renewed = replace(keys, **{STACK_KEYS[name]: _gateway_key()})
    new: str = getattr(renewed, STACK_KEYS[name])
    write_private(folder / "keys.json", json.dumps(asdict(renewed)))
    write_private(accepted, accepted.read_text(encoding="utf-8").replace(_sha256(old), _sha256(new)))
    return new


def write_identities(folder: Path, keys: Keys) -> Path:
    """Writes the identities file that gRPC services read; returns its path."""
    file = folder / "identities.yaml"
    entries = [
        _identity("gateway", keys.gateway_token, CLIENT, OPERATOR),
        _identity("generator", keys.generator_token, GENERATOR),
        _identity("uploader", keys.uploader_token, UPLOADER),
        _identity("notifier", keys.notifier_token, NOTIFIER),
        _identity("user", keys.grpc_token, CLIENT, OPERATOR),
    ]
    write_private(file, yaml.safe_dump({"identities": entries}, sort_keys=False))
    return file


def _identity(name: str, token: str, *roles: str) -> dict[str, object]:
    tenants: object = "*" if {CLIENT, NOTIFIER} & {*roles} else []
    return {"name": name, "roles": list(roles), "tenants": tenants, "token_sha256": [_sha256(token)]}


def _fresh() -> Keys:
    return Keys(
        api_key=_gateway_key(),
        operator_key=_gateway_key(),
        database_password=secrets.token_urlsafe(24),
        notifier_database_password=secrets.token_urlsafe(24),
        **{field.name: f"cg_{secrets.token_urlsafe(32)}" for field in fields(Keys) if field.name.endswith("_token")},
        **{field.name: f"cn_{secrets.token_urlsafe(32)}" for field in fields(Keys) if "_nats_" in field.name},
    )


def _gateway_key() -> str:
    return f"ck_{secrets.token_urlsafe(32)}"


def write_private(path: Path, text: str) -> None:
    """Replaces a file that only its owner may read, in one step; it is on disk when this returns."""
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
