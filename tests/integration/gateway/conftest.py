"""The gateway behind a real HTTP server, on a fake job-service that is reached by real gRPC."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.dependencies import Dependencies
from gateway.streams.follow import StreamTimeouts
from gateway.streams.sse import Streams
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, serving

#: Streams as in production, but for what would make a test wait.
QUICK = StreamTimeouts(heartbeat=0.05, progress=3600.0, reopen=0.01, cancel_outcome=0.3)


@pytest.fixture
async def service() -> FakeJobService:
    """What answers the gateway."""
    return FakeJobService()


@pytest.fixture
async def gateway(service: FakeJobService) -> AsyncIterator[tuple[httpx.AsyncClient, Dependencies]]:
    """A client of the gateway, and the gateway's parts."""
    async with (
        serving(service) as address,
        assembled(address, timeouts=QUICK, streams=Streams(limit=4)) as (app, parts),
        over_http(app, parts) as client,
    ):
        yield client, parts


@pytest.fixture
def client(gateway: tuple[httpx.AsyncClient, Dependencies]) -> httpx.AsyncClient:
    """A client of the gateway."""
    return gateway[0]


@pytest.fixture
def parts(gateway: tuple[httpx.AsyncClient, Dependencies]) -> Dependencies:
    """The gateway's parts."""
    return gateway[1]
