"""What stands in an identities file, and what must not."""

from pathlib import Path

import pytest

from common.config import ConfigError
from common.identities import Identities
from tests.support.security.identities import digest, entry, write

ROLES = ("client", "worker")


def test_somebody_is_known_by_any_of_their_tokens_and_names(tmp_path: Path) -> None:
    acme = entry("acme", "client", tenants=["acme", "acme-test"]) | {"token_sha256": [digest("old"), digest("new")]}
    worker = entry("worker", "worker", token="", certificate=["a", "b"])
    identities = Identities(write(tmp_path / "identities.yaml", acme, worker), roles=ROLES)

    [old, new] = [identities.of_token(token) for token in ("old", "new")]
    assert old is not None
    assert old == new
    assert (old.name, old.roles, old.tenants) == ("acme", {"client"}, {"acme", "acme-test"})
    found = [identities.of_certificate(names) for names in (["a"], ["x", "b"], ["x"], [])]
    assert [one and one.name for one in found] == ["worker", "worker", None, None]


def test_a_star_is_every_tenant_and_none_is_none(tmp_path: Path) -> None:
    file = write(tmp_path / "identities.yaml", entry("all", "client", tenants="*"), entry("none", "client"))
    identities = Identities(file, roles=ROLES)

    [every, none] = [identities.of_token(token) for token in ("all", "none")]
    assert every is not None
    assert every.tenants is None
    assert none is not None
    assert none.tenants == frozenset()


def test_digests_are_read_in_either_case(tmp_path: Path) -> None:
    upper = entry("acme", "client") | {"token_sha256": [digest("acme").upper()]}
    identities = Identities(write(tmp_path / "identities.yaml", upper), roles=ROLES)

    assert identities.of_token("acme") is not None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("identities: [", "is not YAML"),
        ("", "the file"),
        ("[]", "the file"),
        ("identities: [{roles: [client]}]", "identities.0.name"),
        ("identities: [{name: a b, roles: []}]", "identities.0.name"),
        ("identities: [{name: a, roles: [boss]}]", "'boss' is not a role; the roles are client, worker"),
        ("identities: [{name: a, roles: [client], tenants: '**'}]", "identities.0.tenants"),
        ("identities: [{name: a, roles: [client], tenants: ['*']}]", "identities.0.tenants"),
        ("identities: [{name: a, roles: [client], token: secret}]", "identities.0.token"),
        ("identities: [{name: a, roles: [client], token_sha256: [secret]}]", "identities.0.token_sha256.0"),
        ("identities: [{name: a, roles: []}, {name: a, roles: []}]", "two entries have the same name"),
        (
            "identities:\n- name: a\n  roles: []\n  roles: [client]",
            ":4:3: the key 'roles' occurs twice in one mapping; the first is in line 3",
        ),
        (
            "identities: [{name: a, roles: [], certificate: [x]}, {name: b, roles: [], certificate: [x]}]",
            "two entries have the same certificate",
        ),
        (
            f"identities: [{{name: a, roles: [], token_sha256: [{'a' * 64}]}},"
            f" {{name: b, roles: [], token_sha256: [{'A' * 64}]}}]",
            "two entries have the same token",
        ),
        # To sit on this machine is no identity.
        ("identities: [{name: a, roles: [], loopback: true}]", "identities.0.loopback"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line_that_names_the_place(
    tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "identities.yaml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError) as refused:
        Identities(file, roles=ROLES)

    assert str(refused.value).startswith(f"CALOTYPE_GRPC_IDENTITIES_FILE: {file}")
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml, which cannot be read"):
        Identities(tmp_path / "nowhere.yaml", roles=ROLES)
