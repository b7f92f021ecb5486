"""TLS files, tokens and listeners as settings: half of something stops the start, and what is open is told."""

import logging
from pathlib import Path
from typing import Any

import pytest
from calotype import permissions

from common.config import ConfigError
from common.grpc_access import ServerSettings, door
from common.grpc_client import ClientSettings, channel
from common.grpc_tls import TlsSettings, channel_credentials, server_credentials
from tests.support.certificates import Authority, Leaf
from tests.support.identities import entry, write


@pytest.fixture
def leaf(tmp_path: Path) -> Leaf:
    """A certificate."""
    return Authority(tmp_path / "pki").give("somebody")


def settings(leaf: Leaf, *names: str) -> TlsSettings:
    files = {"cert": leaf.certificate, "key": leaf.key, "ca": leaf.authority}
    return TlsSettings(**{f"grpc_tls_{name}_file": files[name] for name in names})


@pytest.mark.parametrize("names", [("cert",), ("key",), ("cert", "ca"), ("key", "ca")])
@pytest.mark.parametrize("make", [server_credentials, channel_credentials])
def test_a_certificate_and_its_key_come_together(leaf: Leaf, make: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"^CALOTYPE_GRPC_TLS_(CERT|KEY)_FILE is set and CALOTYPE_GRPC_TLS_\w+ is not"
    ):
        make(settings(leaf, *names))


def test_a_server_needs_a_certificate_to_ask_for_others(leaf: Leaf) -> None:
    with pytest.raises(ConfigError, match="CALOTYPE_GRPC_TLS_CA_FILE needs"):
        server_credentials(settings(leaf, "ca"))


@pytest.mark.parametrize("broken", ["certificate", "key", "authority"])
@pytest.mark.parametrize("content", [b"", b"no PEM", None])
@pytest.mark.parametrize("make", [server_credentials, channel_credentials])
def test_a_file_that_is_none_of_its_kind_is_named(leaf: Leaf, make: Any, broken: str, content: bytes | None) -> None:
    path: Path = getattr(leaf, broken)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        make(settings(leaf, "cert", "key", "ca"))

    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_of_another_certificate_is_refused(leaf: Leaf, tmp_path: Path) -> None:
    leaf.key.write_bytes(Authority(tmp_path / "other").give("other").key.read_bytes())

    with pytest.raises(ConfigError, match="are no certificate with its key"):
        server_credentials(settings(leaf, "cert", "key"))


def test_without_files_there_is_no_tls() -> None:
    assert server_credentials(TlsSettings()) is None
    assert channel_credentials(TlsSettings()) is None


@pytest.mark.parametrize("token", ["with space", "ümlaut", "line\nbreak"])
async def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigError, match="CALOTYPE_GRPC_TOKEN") as refused:
        async with channel("127.0.0.1:1", settings=ClientSettings(grpc_token=token)):
            pass

    assert token not in str(refused.value)
    assert token not in repr(ClientSettings(grpc_token=token))


def warnings(caplog: pytest.LogCaptureFixture, *listens: str, **files: Path) -> list[Any]:
    with caplog.at_level(logging.WARNING):
        door(
            ServerSettings(**files),
            *listens,
            roles=permissions.ACCEPTED,
            objection=permissions.objection,
            changes=permissions.changes,
        )
    return [record for record in caplog.records if record.message == "grpc.unguarded"]


def test_an_open_service_that_others_can_reach_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    [warned] = warnings(caplog, "127.0.0.1:1", "0.0.0.0:2", "[::]:3", "job:4")

    assert vars(warned)["listens"] == "0.0.0.0:2, [::]:3, job:4"
    assert "CALOTYPE_GRPC_IDENTITIES_FILE" in vars(warned)["because"]


def test_loopback_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, "127.0.0.1:1", "[::1]:2", "localhost:3") == []


def test_neither_is_a_guarded_service(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    file = write(tmp_path / "identities.yaml", entry("acme", "client"))

    assert warnings(caplog, "0.0.0.0:1", grpc_identities_file=file) == []


def test_nor_one_that_asks_for_certificates(caplog: pytest.LogCaptureFixture, leaf: Leaf) -> None:
    files = {
        "grpc_tls_cert_file": leaf.certificate, "grpc_tls_key_file": leaf.key, "grpc_tls_ca_file": leaf.authority
    }  # fmt: skip

    assert len(warnings(caplog, "0.0.0.0:1", **{**files, "grpc_tls_ca_file": None})) == 1  # type: ignore[arg-type]
    caplog.clear()
    assert warnings(caplog, "0.0.0.0:1", **files) == []
