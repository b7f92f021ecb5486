import hashlib
import logging
import os
from pathlib import Path

import pytest

from common.config import ConfigError
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from gateway.auth.keys_file import KeysFile

DIGEST = hashlib.sha256(b"sk-acme-1").hexdigest()
GOOD = f"tenants: [{{name: acme, key_sha256: ['{DIGEST}']}}]"
WRONG = "tenants: {"


class Users:
    """Whoever uses the keys: notes every keyring that is handed over."""

    def __init__(self) -> None:
        self.given: list[Keyring] = []

    def use(self, keyring: Keyring) -> None:
        """Take it."""
        self.given.append(keyring)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keys file with one key."""
    file = tmp_path / "keys.yaml"
    file.write_text(GOOD)
    return file


def _write(path: Path, text: str | None) -> None:
    """Replace the file's content; None takes the file away."""
    path.unlink() if text is None else path.write_text(text)


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("keys.")]


def test_a_file_names_tenants_digests_limits_and_origins(path: Path) -> None:
    path.write_text(
        f"tenants:\n  - {{name: acme, role: tenant, key_sha256: ['{DIGEST.upper()}', '{'1' * 64}'],\n"
        "     max_in_flight: 50, max_queued: 5000, requests_per_minute: 600, max_high_priority: 5, \n"
        "     cors_origins: ['https://shop.example'], allowed_providers: [flux, openai/gpt-image-1],\n"
        "     budget_micros_per_day: 50000000, budget_micros_per_month: 0}\n"
        f"  - {{name: ops, role: operator, key_sha256: ['{'0' * 64}']}}\n"
    )
    keyring = KeysFile(path).load()

    assert len(keyring) == 3
    assert keyring.by_key("sk-acme-1") == keyring.of_tenant("acme")
    assert keyring.of_tenant("acme") == Principal(
        tenant="acme",
        limits=TenantQuota(
            max_in_flight=50,
            max_queued=5000,
            requests_per_minute=600,
            max_high_priority=5,
            allowed_providers=("flux", "openai/gpt-image-1"),
            budget_micros_per_day=50_000_000,
            budget_micros_per_month=0,
        ),
        cors_origins=frozenset({"https://shop.example"}),
        key_sha256=DIGEST,
    )
    assert keyring.of_tenant("ops") == Principal(tenant="ops", role="operator", key_sha256="0" * 64)


def test_a_tenant_may_have_several_keys_and_none(path: Path) -> None:
    digests = [hashlib.sha256(key).hexdigest() for key in (b"old", b"new")]
    path.write_text(f"tenants: [{{name: acme, key_sha256: {digests}}}, {{name: idle, key_sha256: []}}]")
    keyring = KeysFile(path).load()

    owners = [keyring.by_key(key) for key in ("old", "new", "")]
    assert [one and one.tenant for one in owners] == ["acme", "acme", None]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "the file"),
        (WRONG, "YAML"),
        ("tenants: [2026-99-99]", "YAML"),
        ("[" * 2000, "YAML"),
        ("tenants: [{name: 'a b', key_sha256: []}]", "tenants.0.name"),
        ('tenants: [{name: "a\\n", key_sha256: []}]', "tenants.0.name"),
        ("tenants: [{name: a, key_sha256: [plain-key]}]", "tenants.0.key_sha256.0"),
        ("tenants: [{name: a, key_sha256: [], colour: red}]", "tenants.0.colour"),
        ("tenants: [{name: a, role: admin, key_sha256: []}]", "tenants.0.role"),
        ("tenants: [{name: a, key_sha256: [], max_queued: -1}]", "tenants.0.max_queued"),
        ("tenants: [{name: a, key_sha256: [], budget_micros_per_day: -1}]", "tenants.0.budget_micros_per_day"),
        ("tenants: [{name: a, key_sha256: [], budget_micros_per_month: 1e3}]", "tenants.0.budget_micros_per_month"),
        ("tenants: [{name: a, key_sha256: [], allowed_providers: [flux/]}]", "tenants.0.allowed_providers.0"),
        ("tenants: [{name: a, key_sha256: [], allowed_providers: flux}]", "tenants.0.allowed_providers"),
        (
            f"tenants: [{{name: a, key_sha256: ['{DIGEST}']}}, {{name: b, key_sha256: ['{DIGEST}']}}]",
            "two entries have the same key",
        ),
        ("tenants: [{name: a, key_sha256: []}, {name: a, key_sha256: []}]", "tenant a occurs more than once"),
        (
            "tenants:\n- name: a\n  key_sha256: []\n  max_queued: 5\n  'max_queued': 50",
            ":5:3: the key 'max_queued' occurs twice in one mapping; the first is in line 4",
        ),
    ],
)
def test_a_bad_file_stops_the_start_with_one_line(path: Path, text: str, word: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=word) as refused:
        KeysFile(path).load()
    assert "\n" not in str(refused.value)
    assert "plain-key" not in str(refused.value)


@pytest.mark.parametrize(
    "origin",
    ["*", "https://a.example", "http://localhost:5173", "http://[::1]:8080", "https://a.example:80", "app://shop"],
)
def test_an_origin_is_what_a_browser_sends(path: Path, origin: str) -> None:
    path.write_text(f"tenants: [{{name: a, key_sha256: [], cors_origins: ['{origin}']}}]")
    assert KeysFile(path).load().allowed_origin(origin) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "a.example",
        "https://",
        "https://a.example/",
        "https://A.example",
        "https://a.example:443",
        "http://a.example:80",
        "http://a.example:99999",
        "https://user@a.example",
        "https://*.a.example",
        "https://a.example, https://b.example",
        "https://bücher.example",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(path: Path, origin: str) -> None:
    path.write_text(f"tenants: [{{name: a, key_sha256: [], cors_origins: ['{origin}']}}]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"tenants\.0\.cors_origins\.0"):
        KeysFile(path).load()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        KeysFile(tmp_path / "nowhere.yaml").load()


async def test_what_has_changed_is_handed_over_once(path: Path) -> None:
    file, users = KeysFile(path), Users()
    file.load()
    assert await file.reload(users.use) == {}
    _write(path, GOOD.replace(DIGEST, "1" * 64))
    assert await file.reload(users.use) == {"reloaded": 1}
    assert await file.reload(users.use) == {}
    [keyring] = users.given
    assert keyring.by_key("sk-acme-1") is None


async def test_a_link_that_is_swapped_counts_as_a_change_although_the_file_is_older(tmp_path: Path) -> None:
    link = tmp_path / "keys.yaml"
    for name, digest in (("first", "1" * 64), ("second", DIGEST)):
        _write(tmp_path / name, GOOD.replace(DIGEST, digest))
    os.utime(tmp_path / "second", (0, 0))
    os.symlink("first", link)
    file, users = KeysFile(link), Users()
    file.load()
    os.symlink("second", tmp_path / "next")
    os.replace(tmp_path / "next", link)

    await file.reload(users.use)
    assert users.given[0].by_key("sk-acme-1") is not None


async def test_a_file_that_became_wrong_changes_nothing_and_is_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, users = KeysFile(path), Users()
    file.load()
    _write(path, WRONG)
    for _ in range(3):
        await file.reload(users.use)
    assert users.given == []
    assert _lines(caplog) == ["keys.refused"]


async def test_a_file_that_vanished_is_told_once_and_taken_again_when_it_is_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, users = KeysFile(path), Users()
    file.load()
    _write(path, None)
    for _ in range(3):
        await file.reload(users.use)
    assert users.given == []
    _write(path, GOOD)
    await file.reload(users.use)
    assert len(users.given) == 1
    assert _lines(caplog) == ["keys.refused", "keys.reloaded"]
    assert DIGEST not in caplog.text
