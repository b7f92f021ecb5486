"""Quotas of the keys file, over two gateways on one real job-service."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, failed, use_cases_at
from tests.support.servers import embedded_servers

HEADERS = {name: {"Authorization": f"Bearer {name}-key"} for name in ("few", "full", "free", "ops")}
LIMITS = {
    "few": TenantQuota(requests_per_minute=4),
    "full": TenantQuota(max_queued=1, max_high_priority=1, max_in_flight=1),
    "free": TenantQuota(),
    "ops": TenantQuota(requests_per_minute=1),
}
KEYRING = Keyring(
    Principal(
        tenant=name,
        role="operator" if name == "ops" else "tenant",
        limits=limits,
        key_sha256=hashlib.sha256(f"{name}-key".encode()).hexdigest(),
    )
    for name, limits in LIMITS.items()
)
RATE = re.compile(r'"requests";r=(?P<remaining>[0-9]+);t=(?P<reset>[0-9]+)')
BODY = {"prompt": "a harbour"}


@pytest.fixture
def database_url(postgres: embedded_servers.Server, template: str) -> Iterator[str]:
    """A database of the test's own."""
    url = embedded_servers.copy_database(postgres.url, template)
    yield url
    embedded_servers.drop_database(postgres.url, url)


@pytest.fixture
def desk(database_url: str) -> Iterator[JobUseCases]:
    """What workers do."""
    with use_cases_at(database_url) as desk:
        yield desk


@pytest.fixture
async def gateways(
    database_url: str, desk: JobUseCases, nats: embedded_servers.Server
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of two gateways of one service."""
    authenticator = Authenticator(KEYRING)
    async with (
        job_service(database_url, nats.url) as address,
        assembled(address, authenticator=authenticator) as (first, _),
        assembled(address, authenticator=authenticator) as (second, _),
        in_process(first) as one,
        in_process(second) as other,
    ):
        yield [one, other]


async def test_requests_are_counted_over_all_gateways(gateways: list[httpx.AsyncClient]) -> None:
    one, other = gateways
    answers = [
        await one.post("/v1/jobs", json=BODY, headers=HEADERS["few"]),
        await other.get("/v1/jobs", headers=HEADERS["few"]),
        await one.get("/v1/providers", headers=HEADERS["few"]),
        await other.post("/v1/jobs", json=BODY, headers=HEADERS["few"]),
        await one.get("/v1/jobs", headers=HEADERS["few"]),
        await other.post("/v1/jobs", json=BODY, headers=HEADERS["few"]),
    ]

    assert [answer.status_code for answer in answers] == [202, 200, 200, 202, 429, 429]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"requests";q=4;w=60'}
    rates = [RATE.fullmatch(answer.headers["RateLimit"]) for answer in answers[:4]]
    assert [rate and int(rate["remaining"]) for rate in rates] == [3, 2, 1, 0]
    assert all(rate and 15 * number - 10 < int(rate["reset"]) <= 15 * number for number, rate in enumerate(rates, 1))
    for refused in answers[4:]:
        assert refused.json()["reason"] == "QUOTA_EXCEEDED"
        assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
        assert 1 <= int(refused.headers["Retry-After"]) <= 15
    assert (await one.get("/v1/jobs", headers=HEADERS["free"])).status_code == 200


async def test_a_replay_is_never_refused(gateways: list[httpx.AsyncClient]) -> None:
    one, other = gateways
    keyed = HEADERS["few"] | {"Idempotency-Key": "k"}
    first = await one.post("/v1/jobs", json=BODY, headers=keyed)
    for _ in range(3):
        await one.get("/v1/jobs", headers=HEADERS["few"])
    again = await other.post("/v1/jobs", json=BODY, headers=keyed)

    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "RateLimit" not in again.headers


async def test_a_full_queue_and_too_much_haste_are_refused_until_there_is_room(
    gateways: list[httpx.AsyncClient], desk: JobUseCases
) -> None:
    one, other = gateways
    urgent = BODY | {"priority": "high"}
    first = await one.post("/v1/jobs", json=urgent, headers=HEADERS["full"])
    full = await other.post("/v1/jobs", json=BODY, headers=HEADERS["full"])
    [claimed] = desk.claim(5)
    hasty = await one.post("/v1/jobs", json=urgent, headers=HEADERS["full"])
    second = await other.post("/v1/jobs", json=BODY, headers=HEADERS["full"])

    assert [answer.status_code for answer in (first, full, hasty, second)] == [202, 429, 429, 202]
    assert (full.json()["reason"], full.headers["Retry-After"]) == ("QUOTA_EXCEEDED", "5")
    assert "limit of 1 queued jobs" in full.json()["detail"]
    assert "high-priority" in hasty.json()["detail"]
    # max_in_flight is 1: the second waits for the first.
    assert desk.claim(5) == []
    desk.apply(failed(claimed.job, retryable=False))
    assert len(desk.claim(5)) == 1


async def test_operators_have_quotas_like_everybody(gateways: list[httpx.AsyncClient]) -> None:
    one, other = gateways
    assert (await one.get("/v1/ui-states", headers=HEADERS["ops"])).status_code == 200
    assert (await other.get("/v1/ui-states", headers=HEADERS["ops"])).status_code == 429


async def test_a_replayed_cancel_says_so(gateways: list[httpx.AsyncClient]) -> None:
    one, other = gateways
    job = (await one.post("/v1/jobs", json=BODY, headers=HEADERS["free"])).json()["id"]
    keyed = HEADERS["free"] | {"Idempotency-Key": "k"}
    first = await one.post(f"/v1/jobs/{job}/cancel", headers=keyed)
    again = await other.post(f"/v1/jobs/{job}/cancel", headers=keyed)

    assert (first.status_code, again.status_code) == (200, 200)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["sequence"] == first.json()["sequence"]
