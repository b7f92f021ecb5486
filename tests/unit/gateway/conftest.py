"""The gateway in this process, on a fake job-service that is reached by real gRPC."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.fake_job_service import FakeJobService, serving
from tests.support.gateway import Clock, assembled, in_process


@pytest.fixture
def clock() -> Clock:
    """The gateway's clock."""
    return Clock()


@pytest.fixture
async def service() -> FakeJobService:
    """What answers the gateway."""
    return FakeJobService()


@pytest.fixture
async def client(service: FakeJobService, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the same machine as the gateway."""
    async with serving(service) as address, assembled(address, clock=clock) as (app, _), in_process(app) as opened:
        yield opened
