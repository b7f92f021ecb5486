"""Tenants of a stack that runs, as its operator changes them: in the keys file, which is read again."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from cli.stack.keys import write_private


def set_tenant(folder: Path, name: str, **entry: Any) -> None:
    """Adds a tenant to the keys file of the stack's folder, or changes its entry; `key` is its only key."""
    file = folder / "keys.yaml"
    accepted = yaml.safe_load(file.read_text(encoding="utf-8"))
    if (key := entry.pop("key", None)) is not None:
        entry["key_sha256"] = [hashlib.sha256(key.encode()).hexdigest()]
    known = next((tenant for tenant in accepted["tenants"] if tenant["name"] == name), None)
    if known is None:
        accepted["tenants"].append({"name": name} | entry)
    else:
        known.update(entry)
    write_private(file, yaml.safe_dump(accepted))
