import hashlib
import hmac
from typing import Any

import httpx
import pytest
from calotype.provider.v1 import provider_pb2
from starlette.requests import Request

from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from tests.support.gateway.gateway_app import assembled, free_use, in_process, provider
from tests.support.job_service.fake_job_service import FakeJobService, serving

SECRET = "sk-acme-1"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
KEYS = Keyring([Principal(tenant="acme", key_sha256=DIGEST)])


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
    return answer.status_code, service.requests[0].tenant if service.requests else None


async def test_a_known_key_names_the_tenant() -> None:
    assert await _ask(Authenticator(KEYS), key=f"Bearer {SECRET}", client="8.8.8.8") == (202, "acme")


UNKNOWN = (f"Bearer {SECRET}x", "Bearer", "Bearer ", f"Bearer {DIGEST}")
NO_KEY = (SECRET, f"Basic {SECRET}")
COSTLY = provider("replicate", free=False)


@pytest.mark.parametrize("key", [*UNKNOWN, *NO_KEY])
async def test_a_key_that_is_not_known_is_refused_wherever_one_is_needed(key: str) -> None:
    assert await _ask(Authenticator(KEYS), key=key) == (401, None)
    assert await _ask(Authenticator(KEYS, free_use=free_use(provider(), COSTLY)), key=key) == (401, None)
    assert await _ask(Authenticator(KEYS, free_use=free_use()), key=key, client="10.0.0.1") == (401, None)


@pytest.mark.parametrize("key", UNKNOWN)
async def test_any_key_is_taken_where_none_is_needed(key: str) -> None:
    assert await _ask(Authenticator(KEYS, free_use=free_use()), key=key) == (202, "default")


@pytest.mark.parametrize("key", NO_KEY)
async def test_what_is_no_bearer_is_refused_everywhere(key: str) -> None:
    assert await _ask(Authenticator(KEYS, free_use=free_use()), key=key) == (401, None)


async def test_a_known_key_names_its_tenant_where_none_is_needed_too() -> None:
    assert await _ask(Authenticator(KEYS, free_use=free_use()), key=f"Bearer {SECRET}") == (202, "acme")


@pytest.mark.parametrize(
    "providers",
    [
        [COSTLY],
        [provider(), COSTLY],
        [provider("comfyui", models=[provider_pb2.Model(name="m", price_micros_per_image=1)])],
        [provider("x", models=[provider_pb2.Model(name="m", capabilities=provider_pb2.Capabilities(free=False))])],
        [provider_pb2.Provider(name="of a generator that says nothing of it")],
    ],
)
async def test_a_key_is_needed_as_soon_as_one_provider_may_cost_something(
    providers: list[provider_pb2.Provider],
) -> None:
    assert await _ask(Authenticator(KEYS, free_use=free_use(*providers))) == (401, None)


@pytest.mark.parametrize(
    "models",
    [
        [],
        [provider_pb2.Model(name="m")],
        [provider_pb2.Model(name="m", price_micros_per_image=0, capabilities=provider_pb2.Capabilities(free=True))],
    ],
)
async def test_no_price_and_a_price_of_nothing_are_free_where_the_kind_is(models: list[provider_pb2.Model]) -> None:
    found = provider("comfyui", models=models)
    assert await _ask(Authenticator(KEYS, free_use=free_use(found))) == (202, "default")


async def test_a_refusal_says_why_and_what_to_do() -> None:
    service = FakeJobService()
    async with (
        serving(service) as address,
        assembled(address, authenticator=Authenticator(KEYS, free_use=free_use(COSTLY))) as (app, _),
        in_process(app) as http,
    ):
        detail = (await http.get("/v1/jobs")).json()["detail"]

    assert detail.startswith("A key is needed: at least one provider is not free. ")
    assert "`calotype keys show`" in detail
    assert "export CALOTYPE_API_KEY=" in detail


@pytest.mark.parametrize(
    ("client", "host"), [("127.0.0.1", "localhost:8080"), ("::1", "[::1]:8080"), ("127.0.0.9", "127.0.0.1")]
)
async def test_this_machine_needs_no_key_while_every_provider_is_free(client: str, host: str) -> None:
    assert await _ask(Authenticator(None, free_use=free_use()), client=client, host=host) == (202, "default")
    assert await _ask(Authenticator(KEYS, free_use=free_use()), client=client, host=host) == (202, "default")


async def test_this_machine_needs_a_key_where_everybody_does() -> None:
    assert await _ask(Authenticator(KEYS)) == (401, None)
    assert await _ask(Authenticator(None)) == (401, None)


@pytest.mark.parametrize("client", ["10.0.0.1", "192.168.1.4", "8.8.8.8", "2001:db8::1", "testclient"])
async def test_another_machine_needs_a_key(client: str) -> None:
    assert await _ask(Authenticator(None, free_use=free_use()), client=client) == (401, None)


@pytest.mark.parametrize(
    "header",
    [
        *("X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "X_Forwarded_Port", "X_Forwarded", "Forwarded"),
        *("X_Real_IP", "Via", "True_Client_IP", "X_Client_IP", "X_Cluster_Client_IP", "Fastly_Client_IP", "CDN_Loop"),
        *("CF_Connecting_IP", "CF_Ray", "X_Envoy_External_Address", "X_Azure_ClientIP", "X_Original_Forwarded_For"),
        *("Fly_Client_IP", "CloudFront_Viewer_Address", "X_Amzn_Trace_Id", "Tailscale_User_Login"),
    ],
)
async def test_a_proxy_on_this_machine_speaks_for_another(header: str) -> None:
    assert await _ask(Authenticator(None, free_use=free_use()), **{header: "127.0.0.1"}) == (401, None)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://[", ""])
async def test_a_page_of_another_site_gets_nothing_without_a_key(origin: str) -> None:
    assert await _ask(Authenticator(None, free_use=free_use()), origin=origin) == (401, None)


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:3000"])
async def test_a_page_that_is_developed_on_this_machine_needs_no_key(origin: str) -> None:
    assert (await _ask(Authenticator(None, free_use=free_use()), origin=origin))[0] == 202


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080"])
async def test_a_page_that_points_its_name_at_this_machine_gets_nothing(host: str) -> None:
    assert await _ask(Authenticator(None, free_use=free_use()), host=host) == (401, None)


async def test_this_machine_is_a_tenant_whatever_role_the_file_gives_to_that_name() -> None:
    keyring = Keyring([Principal(tenant="default", role="operator", key_sha256=DIGEST)])
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=Authenticator(keyring, free_use=free_use())) as (app, _),
        in_process(app) as http,
    ):
        assert (await http.get("/v1/admin/dead")).status_code == 403


async def test_a_caller_carries_the_limits_of_its_tenant_with_or_without_a_key() -> None:
    limits = TenantQuota(max_in_flight=5)
    keyring = Keyring([Principal(tenant="default", limits=limits, key_sha256=DIGEST)])
    authenticator = Authenticator(keyring, free_use=free_use())
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

    assert (await authenticator.principal(Request(local))).limits == limits
    assert (await authenticator.principal(Request(keyed))).limits == limits


async def test_a_key_that_is_gone_is_refused_at_once() -> None:
    authenticator = Authenticator(KEYS)
    authenticator.use(Keyring([Principal(tenant="acme", key_sha256="0" * 64)]))
    assert await _ask(authenticator, key=f"Bearer {SECRET}") == (401, None)


def test_a_key_is_compared_with_one_key_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    compared, compare = list[str](), hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda known, sent: compared.append(known) or compare(known, sent))
    principals = [
        Principal(tenant=f"t{n}", key_sha256=hashlib.sha256(f"key {n}".encode()).hexdigest()) for n in range(500)
    ]
    keyring = Keyring([Principal(tenant="keyless"), *principals])

    assert keyring.by_key("key 400") == principals[400]
    assert keyring.by_key("key 500") is None
    assert keyring.by_key("") is None
    assert compared == [principals[400].key_sha256]
