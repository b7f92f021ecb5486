import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from calotype.job.v1 import job_pb2

from gateway.auth import client_tokens
from gateway.auth.authenticator import Authenticator
from gateway.auth.client_tokens import Grant
from gateway.auth.keyring import Keyring, Principal
from tests.support.gateway.gateway_app import Clock, assembled, free_use, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving

SHOP, OTHER = "https://shop.example", "https://other.example"


def _caller(tenant: str, *origins: str) -> Principal:
    digest = hashlib.sha256(tenant.encode()).hexdigest()
    return Principal(tenant=tenant, cors_origins=frozenset(origins), key_sha256=digest)


SELLER = _caller("seller", SHOP)
KEYRING = Keyring([SELLER, _caller("else", OTHER), _caller("nobody")])
EXPOSED = {
    "etag",
    "location",
    "retry-after",
    "idempotency-key",
    "idempotency-replayed",
    "preference-applied",
    "x-request-id",
    "ratelimit",
    "ratelimit-policy",
    "x-calotype-job-id",
}


@pytest.fixture
def authenticator(clock: Clock) -> Authenticator:
    """Two tenants that allow an origin each, and one that allows none."""
    return Authenticator(KEYRING, clock=clock)


@pytest.fixture
async def http(service: FakeJobService, clock: Clock, authenticator: Authenticator) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that gateway."""
    async with (
        serving(service) as address,
        assembled(address, clock=clock, authenticator=authenticator) as (app, _),
        in_process(app) as opened,
    ):
        yield opened


def _as(tenant: str, origin: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant}", "Origin": origin}


def _allowed(answer: httpx.Response) -> str | None:
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    allowed: str | None = answer.headers.get("access-control-allow-origin")
    assert (allowed is not None) == ("access-control-expose-headers" in answer.headers)
    return allowed


async def _preflight(http: httpx.AsyncClient, origin: str, path: str = "/v1/jobs") -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefer"}
    return await http.options(path, headers=headers)


@pytest.mark.parametrize("origin", [SHOP, OTHER])
async def test_a_preflight_is_answered_for_an_origin_that_any_tenant_allows(
    http: httpx.AsyncClient, origin: str
) -> None:
    answer = await _preflight(http, origin)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert {"POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"authorization", "idempotency-key", "content-type"} <= set(
        answer.headers["access-control-allow-headers"].lower().split(", ")
    )
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example.evil.example", "null", "*", ""])
async def test_a_preflight_of_another_origin_is_refused(http: httpx.AsyncClient, origin: str) -> None:
    answer = await _preflight(http, origin)
    assert answer.status_code == 405
    assert _allowed(answer) is None


async def test_options_that_is_no_preflight_is_no_method_here(http: httpx.AsyncClient) -> None:
    assert (await http.options("/v1/jobs", headers={"Origin": SHOP})).status_code == 405


async def test_a_page_reads_answers_of_the_tenant_that_allows_it_alone(http: httpx.AsyncClient) -> None:
    for tenant, origin, allowed in (
        ("seller", SHOP, SHOP),
        ("seller", OTHER, None),
        ("else", SHOP, None),
        ("nobody", SHOP, None),
    ):
        answer = await http.get("/v1/jobs", headers=_as(tenant, origin))
        assert (answer.status_code, _allowed(answer)) == (200, allowed)
    answer = await http.get("/v1/jobs", headers=_as("seller", SHOP))
    assert {one.lower() for one in answer.headers["access-control-expose-headers"].split(", ")} == EXPOSED


async def test_without_an_origin_nothing_is_said_but_that_it_would_matter(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/jobs", headers={"Authorization": "Bearer seller"})
    assert _allowed(answer) is None


async def test_problems_and_streams_can_be_read_too(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="seller", status=job_pb2.STATUS_COMPLETED)
    for method, path, status in (
        ("GET", "/v1/jobs/job_unknown", 404),
        ("POST", f"/v1/jobs/{job.id}/cancel", 409),
        ("GET", "/v1/jobs?colour=red", 422),
        ("GET", "/v1/admin/dead", 403),
        ("GET", f"/v1/jobs/{job.id}/events", 200),
    ):
        answer = await http.request(method, path, headers=_as("seller", SHOP))
        assert (answer.status_code, _allowed(answer)) == (status, SHOP), path


async def test_who_is_not_known_reads_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/jobs", headers=_as("stranger", SHOP))
    assert (answer.status_code, _allowed(answer)) == (401, None)


async def test_a_page_can_read_that_its_token_has_expired(http: httpx.AsyncClient, clock: Clock) -> None:
    grant = Grant(job_id="job_1", actions=frozenset({"read"}), expires_at=clock() - timedelta(seconds=1))
    token = client_tokens.mint(grant, SELLER.key_sha256 or "")
    for origin, allowed in ((SHOP, SHOP), (OTHER, None)):
        answer = await http.get("/v1/jobs/job_1/events", params={"access_token": token}, headers={"Origin": origin})
        assert (answer.status_code, _allowed(answer)) == (401, allowed)


@pytest.mark.parametrize("origin", [SHOP, "null"])
async def test_a_star_allows_every_origin_of_its_tenant(
    http: httpx.AsyncClient, authenticator: Authenticator, origin: str
) -> None:
    authenticator.use(Keyring([_caller("open", "*"), _caller("nobody")]))
    assert (await _preflight(http, origin)).headers["access-control-allow-origin"] == "*"
    assert _allowed(await http.get("/v1/jobs", headers=_as("open", origin))) == "*"
    assert _allowed(await http.get("/v1/jobs", headers=_as("nobody", origin))) is None


async def test_somebody_on_this_machine_has_the_origins_of_the_tenant_default(service: FakeJobService) -> None:
    authenticator = Authenticator(Keyring([_caller("default", SHOP)]), free_use=free_use())
    async with (
        serving(service) as address,
        assembled(address, authenticator=authenticator) as (app, _),
        in_process(app) as local,
    ):
        assert _allowed(await local.get("/v1/jobs", headers={"Origin": SHOP})) == SHOP
        assert _allowed(await local.get("/v1/jobs", headers={"Origin": OTHER})) is None


async def test_without_keys_no_page_reads_anything(client: httpx.AsyncClient) -> None:
    assert _allowed(await client.get("/v1/jobs", headers={"Origin": SHOP})) is None
    assert (await _preflight(client, SHOP)).status_code == 405
