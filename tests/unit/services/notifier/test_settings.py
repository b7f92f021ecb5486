"""What notifier-service is told."""

from pathlib import Path

import pytest
from calotype.environment import SETTINGS

from common import config
from common.network.guarded_connect import DEFAULT_PORTS
from services.notifier.settings import Settings
from tests.support.security.certificates import Authority

TOLD = {
    "CALOTYPE_DATABASE_URL": "postgresql://notifier:secret@database/calotype",
    "CALOTYPE_JOB_ADDRESS": "job:50051",
    "CALOTYPE_API_BASE_URL": "https://images.example/api/",
    "CALOTYPE_GRPC_LISTEN": "127.0.0.1:0",
    "CALOTYPE_NATS_URL": "nats://127.0.0.1:4222",
}


def settings(**told: str) -> Settings:
    """Settings of an environment."""
    environ = TOLD | {f"CALOTYPE_{name}": value for name, value in told.items()}
    return config.load(Settings, environ=environ, known=SETTINGS)


@pytest.mark.parametrize("name", TOLD)
def test_what_it_cannot_do_without_must_be_set(name: str) -> None:
    environ = {key: value for key, value in TOLD.items() if key != name}
    with pytest.raises(config.ConfigError, match=f"^{name} is not set.$"):
        config.load(Settings, environ=environ, known=SETTINGS)


def test_a_slash_at_the_end_of_the_apis_url_is_left_out() -> None:
    assert settings().root == "https://images.example/api"


@pytest.mark.parametrize(
    "url",
    ["images.example", "ftp://a.example", "https://", "https://a:b@c.example", "http://[", "https://a.example/?b=1"],
)
def test_what_is_no_url_of_an_api_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(config.ConfigError, match=r"^CALOTYPE_API_BASE_URL: .* is no URL of http or https\.$"):
        settings(API_BASE_URL=url).root  # noqa: B018


@pytest.mark.parametrize(
    ("told", "is_private_allowed", "ports"),
    [
        ({}, False, DEFAULT_PORTS),
        ({"WEBHOOK_PORTS": "443, 9000"}, False, {443, 9000}),
        ({"WEBHOOK_ALLOW_PRIVATE": "true"}, True, None),
        ({"WEBHOOK_ALLOW_PRIVATE": "true", "WEBHOOK_PORTS": "80"}, True, {80}),
    ],
)
def test_ports_are_those_of_the_web_unless_they_are_named_or_receivers_are_private(
    told: dict[str, str], is_private_allowed: bool, ports: set[int] | None
) -> None:
    policy = settings(**told).address_policy

    assert (policy.allow_private, policy.ports) == (is_private_allowed, ports)


@pytest.mark.parametrize("ports", ["0", "65536", "80,x", "-1", "8 0", "\u0668\u0660", "9" * 5000])
def test_what_is_no_port_is_refused_in_one_line(ports: str) -> None:
    with pytest.raises(
        config.ConfigError, match=r"^CALOTYPE_WEBHOOK_PORTS: '.{1,80}' is no port; it must be 1 to 65535\.$"
    ):
        settings(WEBHOOK_PORTS=ports).address_policy  # noqa: B018


def test_authorities_of_ones_own_are_added_to_the_public_ones(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    public = settings().receiver_tls().get_ca_certs(binary_form=True)
    both = settings(WEBHOOK_CA_FILE=str(authority.file)).receiver_tls().get_ca_certs(binary_form=True)

    assert len(public) > 50
    assert [len(both) - len(public), set(public) <= set(both)] == [1, True]


def test_a_file_without_a_certificate_is_refused_in_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("none", encoding="utf-8")
    for file in (empty, tmp_path / "missing.pem"):
        with pytest.raises(config.ConfigError, match=r"^CALOTYPE_WEBHOOK_CA_FILE: .* holds no certificate\.$"):
            settings(WEBHOOK_CA_FILE=str(file)).receiver_tls()


def test_no_secret_is_in_what_is_printed() -> None:
    told = settings(WEBHOOK_PROXY_URL="http://user:password@proxy.example", NATS_PASSWORD="hidden", GRPC_TOKEN="token")

    assert not [secret for secret in ("secret@", "password@", "hidden", "'token'") if secret in repr(told)]
