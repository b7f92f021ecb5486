"""Keys of an embedded stack: made once per data folder, readable by their owner alone."""

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What clients and operators show to the gateway, and the database's password for the services."""

    api_key: str
    operator_key: str
    database_password: str


def load_or_make(folder: Path) -> tuple[Keys, Path]:
    """The keys of the folder, and the keys file that the gateway reads (only hashes lie in it)."""
    kept = folder / "keys.json"
    if kept.exists():
        keys = Keys(**json.loads(kept.read_text(encoding="utf-8")))
    else:
        keys = Keys(
            api_key=f"ck_{secrets.token_urlsafe(32)}",
            operator_key=f"ck_{secrets.token_urlsafe(32)}",
            database_password=secrets.token_urlsafe(24),
        )
        write_private(kept, json.dumps(asdict(keys)))
    accepted = folder / "keys.yaml"
    write_private(accepted, _keys_file(keys))
    return keys, accepted


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
