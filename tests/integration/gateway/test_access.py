"""Who may go on: keys and client tokens on open streams, and on the real job-service."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from calotype.job.v1 import job_pb2

from gateway.auth import client_tokens
from gateway.auth.authenticator import Authenticator
from gateway.auth.client_tokens import Grant
from gateway.auth.keyring import Keyring, Principal
from gateway.streams.follow import StreamTimeouts
from tests.support.gateway.event_source import events, next_job
from tests.support.gateway.gateway_app import Clock, assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, failed, use_cases_at
from tests.support.servers import embedded_servers


def _caller(tenant: str, key: str) -> Principal:
    origins = frozenset({"https://shop.example"})
    return Principal(tenant=tenant, cors_origins=origins, key_sha256=hashlib.sha256(key.encode()).hexdigest())


ACME, OTHER = _caller("acme", "acme-key"), _caller("other", "other-key")
ALL = Keyring([ACME, OTHER])
KEY, OTHERS_KEY = {"Authorization": "Bearer acme-key"}, {"Authorization": "Bearer other-key"}
QUICK = StreamTimeouts(heartbeat=0.05, progress=3600.0, reopen=0.01, cancel_outcome=0.3)
LAST_WORD = "the key or token is no longer valid"


@pytest.fixture
def clock() -> Clock:
    """The gateway's clock."""
    return Clock()


@pytest.fixture
def authenticator(clock: Clock) -> Authenticator:
    """Knows the keys of two tenants."""
    return Authenticator(ALL, clock=clock)


@pytest.fixture
async def keyed(
    service: FakeJobService, clock: Clock, authenticator: Authenticator
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with keys."""
    async with (
        serving(service) as address,
        assembled(address, timeouts=QUICK, clock=clock, authenticator=authenticator) as (app, parts),
        over_http(app, parts) as client,
    ):
        yield client


def _token(job_id: str, *, until: datetime) -> str:
    grant = Grant(job_id=job_id, actions=frozenset({"read"}), expires_at=until)
    return client_tokens.mint(grant, ACME.key_sha256 or "")


@pytest.mark.parametrize("by", ["key", "token", "address"])
async def test_an_open_stream_ends_when_its_key_is_removed(
    keyed: httpx.AsyncClient, service: FakeJobService, authenticator: Authenticator, clock: Clock, by: str
) -> None:
    job = service.add(tenant="acme")
    token = _token(job.id, until=clock() + timedelta(hours=1))
    headers = {"key": KEY, "token": {"Authorization": f"Bearer {token}"}, "address": {}}[by]
    query = {"access_token": token} if by == "address" else {}
    async with keyed.stream("GET", f"/v1/jobs/{job.id}/events", headers=headers, params=query) as answer:
        stream = events(answer)
        await next_job(stream)
        authenticator.use(Keyring([OTHER]))
        service.move(job.id, status=job_pb2.STATUS_PROCESSING)
        rest = [event async for event in stream]
    assert rest[-1].comment == LAST_WORD
    # What came after the removal is not told.
    assert not [event for event in rest if event.name == "job"]
    again = await keyed.get(f"/v1/jobs/{job.id}/events", headers=headers, params=query)
    assert again.status_code == 401


async def test_an_open_stream_goes_on_when_another_key_is_removed(
    keyed: httpx.AsyncClient, service: FakeJobService, authenticator: Authenticator
) -> None:
    job = service.add(tenant="acme")
    async with keyed.stream("GET", f"/v1/jobs/{job.id}/events", headers=KEY) as answer:
        stream = events(answer)
        await next_job(stream)
        authenticator.use(Keyring([_caller("acme", "acme-key-2"), ACME]))
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        assert (await next_job(stream)).data["status"] == "completed"


async def test_an_open_stream_ends_when_its_token_expires(
    keyed: httpx.AsyncClient, service: FakeJobService, clock: Clock
) -> None:
    job = service.add(tenant="acme")
    query = {"access_token": _token(job.id, until=clock() + timedelta(minutes=1))}
    async with keyed.stream("GET", f"/v1/jobs/{job.id}/events", params=query) as answer:
        stream = events(answer)
        await next_job(stream)
        clock.now += timedelta(minutes=1)
        rest = [event async for event in stream]
    assert rest[-1].comment == LAST_WORD
    assert (await keyed.get(f"/v1/jobs/{job.id}/events", params=query)).status_code == 401


async def test_a_stream_does_not_wait_for_a_heartbeat_to_end_with_its_token(service: FakeJobService) -> None:
    async with (
        serving(service) as address,
        assembled(address, authenticator=Authenticator(ALL)) as (app, parts),
        over_http(app, parts) as client,
    ):
        job = service.add(tenant="acme")
        # On a busy machine a token may have expired when it arrives: then the next is good for longer.
        for seconds in (3, 6, 12, 24, 48):
            query = {"access_token": _token(job.id, until=datetime.now(UTC) + timedelta(seconds=seconds))}
            async with client.stream("GET", f"/v1/jobs/{job.id}/events", params=query) as answer:
                rest = [event async for event in events(answer)] if answer.status_code == 200 else []
            if rest:
                break
    assert rest[-1].comment == LAST_WORD
    assert parts.timeouts.heartbeat > 10


@pytest.fixture
def database_url(postgres: embedded_servers.Server, template: str) -> Iterator[str]:
    """A database of the test's own."""
    url = embedded_servers.copy_database(postgres.url, template)
    yield url
    embedded_servers.drop_database(postgres.url, url)


@pytest.fixture
def desk(database_url: str) -> Iterator[JobUseCases]:
    """Moves jobs as workers would; knows the providers `procedural` and `paid`."""
    with use_cases_at(database_url) as desk:
        yield desk


@pytest.fixture
async def real(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with keys, on the real job-service."""
    async with (
        job_service(database_url, nats_url) as address,
        assembled(address, timeouts=QUICK, authenticator=Authenticator(ALL)) as (app, parts),
        over_http(app, parts) as client,
    ):
        yield client


async def _submit(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
    answer = await client.post("/v1/jobs", json={"prompt": "a harbour"}, headers=headers)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def test_on_the_real_service_a_browser_follows_and_cancels_its_one_job(real: httpx.AsyncClient) -> None:
    job_id, sibling, foreign = await _submit(real, KEY), await _submit(real, KEY), await _submit(real, OTHERS_KEY)
    asked = {"job_id": job_id, "actions": ["read", "cancel"]}
    made = await real.post("/v1/client-tokens", json=asked, headers=KEY)
    assert made.status_code == 201
    browser = {"Authorization": f"Bearer {made.json()['token']}", "Origin": "https://shop.example"}

    query = {"access_token": made.json()["token"]}
    async with real.stream("GET", f"/v1/jobs/{job_id}/events", params=query) as answer:
        stream = events(answer)
        assert (await next_job(stream)).data["display"]["actions"] == ["cancel"]
        canceled = await real.post(f"/v1/jobs/{job_id}/cancel", headers=browser)
        assert (await next_job(stream)).data["status"] == "canceled"
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert canceled.headers["access-control-allow-origin"] == "https://shop.example"
    for other in (sibling, foreign):
        for method, path in (("GET", ""), ("POST", "/cancel")):
            assert (await real.request(method, f"/v1/jobs/{other}{path}", headers=browser)).status_code == 404
        assert (await real.delete(f"/v1/jobs/{other}", headers=browser)).status_code == 403
    assert (await real.get(f"/v1/jobs/{sibling}", headers=KEY)).json()["status"] == "queued"


async def test_on_the_real_service_a_tenant_makes_no_token_for_anothers_job(real: httpx.AsyncClient) -> None:
    foreign = await _submit(real, OTHERS_KEY)
    answer = await real.post("/v1/client-tokens", json={"job_id": foreign}, headers=KEY)
    assert (answer.status_code, answer.json()["reason"]) == (404, "JOB_NOT_FOUND")
    # The same id, signed by the tenant that does not have it.
    token = _token(foreign, until=datetime.now(UTC) + timedelta(hours=1))
    browser = {"Authorization": f"Bearer {token}"}
    assert (await real.get(f"/v1/jobs/{foreign}", headers=browser)).status_code == 404
    assert (await real.get(f"/v1/jobs/{foreign}/events", headers=browser)).status_code == 404


async def test_on_the_real_service_a_browser_retries_a_failed_job(real: httpx.AsyncClient, desk: JobUseCases) -> None:
    job_id = await _submit(real, KEY)
    grant = {"job_id": job_id, "actions": ["retry"]}
    browser = {
        "Authorization": f"Bearer {(await real.post('/v1/client-tokens', json=grant, headers=KEY)).json()['token']}"
    }
    early = await real.post(f"/v1/jobs/{job_id}/retry", headers=browser)
    assert (early.status_code, early.json()["reason"]) == (409, "WRONG_STATE")
    assert early.json()["job"]["display"]["actions"] == []
    [claimed] = await asyncio.to_thread(desk.claim)
    await asyncio.to_thread(desk.apply, failed(claimed.job, retryable=False))
    assert (await real.post(f"/v1/jobs/{job_id}/retry", headers=browser)).status_code == 202
