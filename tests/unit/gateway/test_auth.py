import hashlib
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from gateway.auth import Authenticator
from gateway.keyring import Caller, Keyring, Limits
from tests.support.fake_job_service import FakeJobService, serving
from tests.support.gateway import assembled, in_process

SECRET = "sk-acme-1"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
KEYS = Keyring([Caller(tenant="acme", key_sha256=DIGEST)])


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


@pytest.mark.parametrize(
    "header", ["X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "Forwarded", "X_Real_IP"]
)
async def test_a_proxy_on_this_machine_speaks_for_another(header: str) -> None:
    assert await _ask(Authenticator(None, required=False), **{header: "127.0.0.1"}) == (401, None)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://[", ""])
async def test_a_page_of_another_site_gets_nothing_without_a_key(origin: str) -> None:
    assert await _ask(Authenticator(None, required=False), origin=origin) == (401, None)


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:3000"])
async def test_a_page_that_is_developed_on_this_machine_needs_no_key(origin: str) -> None:
    assert (await _ask(Authenticator(None, required=False), origin=origin))[0] == 202


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080"])
async def test_a_page_that_points_its_name_at_this_machine_gets_nothing(host: str) -> None:
    assert await _ask(Authenticator(None, required=False), host=host) == (401, None)


async def test_this_machine_is_a_tenant_whatever_role_the_file_gives_to_that_name() -> None:
    keyring = Keyring([Caller(tenant="default", role="operator", key_sha256=DIGEST)])
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=Authenticator(keyring, required=False)) as (app, _),
        in_process(app) as http,
    ):
        assert (await http.get("/v1/admin/dead")).status_code == 403


async def test_a_caller_carries_the_limits_of_its_tenant_with_or_without_a_key() -> None:
    limits = Limits(max_in_flight=5)
    keyring = Keyring([Caller(tenant="default", limits=limits, key_sha256=DIGEST)])
    authenticator = Authenticator(keyring, required=False)
    local: dict[str, Any] = {
        "type": "http",
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1:8080")],
        "query_string": b"",
        "path": "/",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
    }
    keyed = local | {"headers": [*local["headers"], (b"authorization", f"Bearer {SECRET}".encode())]}

    assert authenticator.caller(Request(local)).limits == limits
    assert authenticator.caller(Request(keyed)).limits == limits


async def test_a_key_that_is_gone_is_refused_at_once() -> None:
    authenticator = Authenticator(KEYS, required=False)
    authenticator.use(Keyring([Caller(tenant="acme", key_sha256="0" * 64)]))
    assert await _ask(authenticator, key=f"Bearer {SECRET}") == (401, None)
