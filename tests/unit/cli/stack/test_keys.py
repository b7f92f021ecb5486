"""Keys and identities of a stack: made once, kept by their owner, told to others as digests."""

import json
import stat
from dataclasses import asdict, fields
from pathlib import Path

from calotype.permissions import ROLES

from cli.stack.keys import Keys, load_or_create, write_identities
from common.identities import Identities


def test_a_folder_of_an_older_version_keeps_its_keys_and_gets_the_new_ones(tmp_path: Path) -> None:
    old = {"api_key": "a", "operator_key": "o", "database_password": "p"}
    (tmp_path / "keys.json").write_text(json.dumps(old), encoding="utf-8")

    first, _ = load_or_create(tmp_path)
    second, _ = load_or_create(tmp_path)

    assert first == second
    assert {name: value for name, value in asdict(first).items() if name in old} == old
    assert len({*asdict(first).values()}) == len(fields(Keys))


def test_each_token_is_for_one_role_of_the_stack(tmp_path: Path) -> None:
    keys, _ = load_or_create(tmp_path)
    file = write_identities(tmp_path, keys)
    identities = Identities(file, roles=ROLES)
    found = {name: identities.of_token(token) for name, token in asdict(keys).items()}

    assert {name: one and (one.name, {*one.roles}, one.tenants) for name, one in found.items()} == {
        "api_key": None,
        "operator_key": None,
        "database_password": None,
        "notifier_database_password": None,
        "grpc_token": ("user", {"client", "operator"}, None),
        "gateway_token": ("gateway", {"client", "operator"}, None),
        "generator_token": ("generator", {"generator"}, frozenset()),
        "uploader_token": ("uploader", {"uploader"}, frozenset()),
        "notifier_token": ("notifier", {"notifier"}, None),
        "generator_storage_token": None,
        "uploader_storage_token": None,
        **{f"{name}_nats_password": None for name in keys.nats_passwords},
    }
    assert not any(value in file.read_text(encoding="utf-8") for value in asdict(keys).values())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
