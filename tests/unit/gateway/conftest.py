"""The gateway in this process, on a fake job-service that is reached by real gRPC."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.gateway.gateway_app import Clock, assembled, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving


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


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced; a process has one provider for ever, so the exporter is put beside what is there."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    written: dict[str, Any] = answer.json()
    return written
