"""Callers without a key: let in on this machine while nothing costs anything, and by nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from calotype.job.v1 import job_pb2

from gateway.auth.authenticator import Authenticator
from gateway.auth.free_use import FreeUse
from gateway.streams.follow import StreamTimeouts
from tests.support.gateway.gateway_app import assembled, over_http, provider
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE, pause
from tests.support.processes.gateway_process import KEY, running, write_keys
from tests.support.proxies.plain_proxy import plain_proxy

FREE, COSTLY = provider(), provider("replicate", free=False)
PROMPT = {"prompt": "a"}
#: What pages, proxies and people of this machine send; the first of them is let in while nothing costs anything.
SENT = (
    [],
    [("Authorization", "Bearer a-guess")],
    [("Origin", "http://localhost:3000")],
    [("Origin", "https://evil.example")],
    [("Origin", "null")],
    [("Origin", "http://localhost"), ("Origin", "https://evil.example")],
    [("Host", "evil.example")],
    [("Via", "1.1 proxy")],
    [("CF-Connecting-IP", "192.0.2.1")],
    [("X-Forwarded", "192.0.2.1")],
    [("True-Client-IP", "192.0.2.1")],
)


@asynccontextmanager
async def gateway(service: FakeJobService) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway as `calotype up` runs it, in front of this job-service."""
    async with serving(service) as address, assembled(address, timeouts=StreamTimeouts(heartbeat=0.05)) as (_, parts):
        authenticator = Authenticator(None, free_use=FreeUse(partial(parts.jobs.providers, None)))
        async with (
            assembled(address, authenticator=authenticator, timeouts=parts.timeouts) as (app, own),
            over_http(app, own) as client,
        ):
            yield client


def offering(*providers: object) -> FakeJobService:
    service = FakeJobService()
    service.providers = list(providers)  # type: ignore[arg-type]
    return service


@pytest.mark.parametrize("sent", SENT, ids=str)
async def test_nobody_without_a_key_is_let_in_where_one_provider_costs_something(sent: list[tuple[str, str]]) -> None:
    service = offering(FREE, COSTLY)
    async with gateway(service) as client:
        answers = [
            await client.post("/v1/jobs", json=PROMPT, headers=httpx.Headers(sent)),
            await client.get("/v1/jobs", headers=httpx.Headers(sent)),
        ]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert not service.history


@pytest.mark.parametrize("sent", SENT[3:], ids=str)
async def test_pages_of_other_sites_and_clients_of_proxies_need_one_always(sent: list[tuple[str, str]]) -> None:
    service = offering(FREE)
    async with gateway(service) as client:
        answer = await client.post("/v1/jobs", json=PROMPT, headers=httpx.Headers(sent))

    assert (answer.status_code, service.history) == (401, {})


@pytest.mark.parametrize("sent", SENT[:3], ids=str)
async def test_whoever_tries_on_this_machine_needs_none_while_nothing_costs_anything(
    sent: list[tuple[str, str]],
) -> None:
    async with gateway(offering(FREE)) as client:
        assert (await client.post("/v1/jobs", json=PROMPT, headers=httpx.Headers(sent))).status_code == 202


async def test_a_proxy_that_says_nothing_of_its_clients_lets_nobody_in_where_something_costs() -> None:
    service = offering(COSTLY)
    async with (
        gateway(service) as client,
        plain_proxy("127.0.0.1", client.base_url.port or 0) as url,
        httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as outside,
    ):
        answers = [await outside.get("/v1/jobs"), await outside.post("/v1/jobs", json=PROMPT)]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert not service.history


async def test_what_was_free_is_closed_at_once_when_it_costs_streams_that_are_open_included() -> None:
    service = offering(FREE)
    async with gateway(service) as client:
        job = service.add(tenant="default", status=job_pb2.STATUS_GENERATING)
        async with client.stream("GET", f"/v1/jobs/{job.id}/events") as stream:
            assert stream.status_code == 200
            service.providers = [FREE, COSTLY]

            assert (await client.post("/v1/jobs", json=PROMPT)).status_code == 401
            assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 401
            async with asyncio.timeout(PATIENCE):
                told = [line async for line in stream.aiter_lines()]
        assert ": the key or token is no longer valid" in told
        service.providers = [FREE]
        assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 200


async def test_nobody_is_let_in_while_it_is_not_known_what_there_is() -> None:
    service = offering()
    async with gateway(service) as client:
        nothing = await client.get("/v1/ui-states")
    async with serving(service) as address:
        pass
    async with assembled(address, authenticator=Authenticator(None)) as (_, parts):
        authenticator = Authenticator(None, free_use=FreeUse(partial(parts.jobs.providers, None)))
        async with assembled(address, authenticator=authenticator) as (app, own), over_http(app, own) as client:
            away = await client.get("/v1/ui-states")

    assert [answer.status_code for answer in (nothing, away)] == [503, 503]


async def test_a_gateway_that_is_started_by_itself_asks_everybody_for_a_key(tmp_path: Path) -> None:
    async with serving(offering(FREE)) as address, running(address, tmp_path, None) as (_, client):
        for shown in ({}, {"Authorization": "Bearer a-guess"}):
            assert (await client.get("/v1/ui-states", headers=shown)).status_code == 401
        assert (await client.get("/v1/ui-states", headers={"Authorization": f"Bearer {KEY}"})).status_code == 200


@pytest.mark.parametrize(("listen", "status"), [("127.0.0.1:0", 200), ("0.0.0.0:0", 401)])
async def test_only_who_cannot_be_reached_from_elsewhere_may_ask_nobody_for_a_key(
    tmp_path: Path, listen: str, status: int
) -> None:
    write_keys(tmp_path, "1", KEY)
    settings = {"HTTP_LISTEN": listen, "KEYLESS_WHILE_FREE": "true"}
    async with (
        serving(offering(FREE)) as address,
        running(address, tmp_path, None, **settings) as (_, client),
        asyncio.timeout(PATIENCE),
    ):
        while (answer := await client.get("/v1/ui-states")).status_code == 503:
            await pause()
    assert answer.status_code == status
