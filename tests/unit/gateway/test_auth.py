import hashlib
from pathlib import Path

import httpx
import pytest

from common.config import ConfigError
from gateway import keys
from gateway.auth import Authenticator, Caller, Key
from tests.support.fake_job_service import FakeJobService, serving
from tests.support.gateway import assembled, in_process

SECRET = "sk-acme-1"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
KEYS = (Key(sha256=DIGEST, caller=Caller(tenant="acme")),)


async def _ask(
    authenticator: Authenticator,
    *,
    key: str | None = None,
    client: str = "127.0.0.1",
    host: str = "127.0.0.1:8080",
    **headers: str,
) -> tuple[int, str | None]:
    """The status, and the tenant that the job became."""
    service = FakeJobService()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["Authorization"] = key
    async with (
        serving(service) as address,
        assembled(address, authenticator=authenticator) as (app, _),
        in_process(app, client=client, host=host) as http,
    ):
        answer: httpx.Response = await http.post("/v1/jobs", json={"prompt": "a"}, headers=sent)
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["reason"] == "UNAUTHENTICATED"
    return answer.status_code, service.asked[0].tenant if service.asked else None


async def test_a_known_key_names_the_tenant() -> None:
    assert await _ask(Authenticator(KEYS, required=True), key=f"Bearer {SECRET}", client="8.8.8.8") == (202, "acme")


@pytest.mark.parametrize(
    "key", [f"Bearer {SECRET}x", "Bearer", "Bearer ", SECRET, f"Basic {SECRET}", f"Bearer {DIGEST}"]
)
async def test_a_key_that_is_not_known_is_refused_everywhere(key: str) -> None:
    assert await _ask(Authenticator(KEYS, required=False), key=key) == (401, None)


@pytest.mark.parametrize(
    ("client", "host"), [("127.0.0.1", "localhost:8080"), ("::1", "[::1]:8080"), ("127.0.0.9", "127.0.0.1")]
)
async def test_this_machine_needs_no_key(client: str, host: str) -> None:
    assert await _ask(Authenticator(None, required=False), client=client, host=host) == (202, "default")
    assert await _ask(Authenticator(KEYS, required=False), client=client, host=host) == (202, "default")


async def test_this_machine_needs_a_key_where_everybody_does() -> None:
    assert await _ask(Authenticator(KEYS, required=True)) == (401, None)


@pytest.mark.parametrize("client", ["10.0.0.1", "192.168.1.4", "8.8.8.8", "2001:db8::1", "testclient"])
async def test_another_machine_needs_a_key(client: str) -> None:
    assert await _ask(Authenticator(None, required=False), client=client) == (401, None)


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_IP"])
async def test_a_proxy_on_this_machine_speaks_for_another(header: str) -> None:
    assert await _ask(Authenticator(None, required=False), **{header: "127.0.0.1"}) == (401, None)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080"])
async def test_a_page_that_points_its_name_at_this_machine_gets_nothing(host: str) -> None:
    assert await _ask(Authenticator(None, required=False), host=host) == (401, None)


def test_a_keys_file_names_tenants_and_digests(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(
        f"tenants:\n  - {{name: acme, role: tenant, key_sha256: ['{DIGEST.upper()}'], max_in_flight: 50}}\n"
        f"  - {{name: ops, role: operator, key_sha256: ['{'0' * 64}']}}\n"
    )
    assert keys.load(file) == (*KEYS, Key(sha256="0" * 64, caller=Caller(tenant="ops", role="operator")))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "the file"),
        ("tenants: {", "YAML"),
        ("tenants: [{name: 'a b', key_sha256: []}]", "tenants.0.name"),
        ("tenants: [{name: a, key_sha256: [plain-key]}]", "tenants.0.key_sha256.0"),
        ("tenants: [{name: a, key_sha256: [], colour: red}]", "tenants.0.colour"),
        ("tenants: [{name: a, role: admin, key_sha256: []}]", "tenants.0.role"),
        (f"tenants: [{{name: a, key_sha256: ['{DIGEST}']}}, {{name: b, key_sha256: ['{DIGEST}']}}]", "twice"),
    ],
)
def test_a_bad_keys_file_stops_the_start_with_one_line(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=word) as refused:
        keys.load(file)
    assert "\n" not in str(refused.value)
    assert "plain-key" not in str(refused.value)


def test_a_keys_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        keys.load(tmp_path / "nowhere.yaml")
