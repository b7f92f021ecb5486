"""TLS files, tokens and listeners as settings: half of something stops the start, and so does what would be open."""

from pathlib import Path
from typing import Any

import pytest
from calotype import permissions

from common.config import ConfigError
from common.grpc_access import ServerSecurity, ServerSettings, server_security
from common.grpc_client import ClientSettings, channel
from common.grpc_tls import TlsSettings, channel_credentials, server_credentials
from tests.support.security.certificates import Authority, Leaf
from tests.support.security.identities import entry, write


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


def made(**files: Path | None) -> ServerSecurity:
    return server_security(
        ServerSettings(**files),  # type: ignore[arg-type]
        roles=permissions.ACCEPTED,
        policy=permissions.policy,
        changes=permissions.changes,
    )


def test_a_service_that_nothing_says_who_may_call_does_not_start(leaf: Leaf) -> None:
    with pytest.raises(ConfigError, match=r"^CALOTYPE_GRPC_IDENTITIES_FILE is not set: "):
        made()
    with pytest.raises(ConfigError, match="CALOTYPE_GRPC_IDENTITIES_FILE"):
        made(grpc_tls_cert_file=leaf.certificate, grpc_tls_key_file=leaf.key)


def test_identities_or_authorities_of_certificates_say_it(tmp_path: Path, leaf: Leaf) -> None:
    file = write(tmp_path / "identities.yaml", entry("acme", "client"))
    by_certificate = made(
        grpc_tls_cert_file=leaf.certificate, grpc_tls_key_file=leaf.key, grpc_tls_ca_file=leaf.authority
    )

    assert made(grpc_identities_file=file).authorizer is not None
    assert (by_certificate.authorizer, by_certificate.credentials() is None) == (None, False)
