"""Metrics of streams over real HTTP."""

import asyncio

import httpx

from common.admin_port import MetricsApp
from gateway.dependencies import Dependencies
from tests.support.gateway.event_source import events, next_job
from tests.support.gateway.metrics_scrape import scrape
from tests.support.job_service.fake_job_service import FakeJobService
from tests.support.patience import PATIENCE

SECONDS = "calotype_http_request_duration_seconds"
OF_STREAMS = {"method": "GET", "route": "/v1/jobs/{job_id}/events", "status": "200"}


async def test_a_stream_is_shown_while_it_is_open_and_timed_to_its_beginning(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies
) -> None:
    job = service.add()
    transport = httpx.ASGITransport(MetricsApp(parts.metrics.instruments))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9464") as admin:
        async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
            await next_job(events(answer))
            during = await scrape(admin)
        await asyncio.wait_for(service.until(lambda now: now.watching == 0), timeout=PATIENCE)
        after = await scrape(admin)

    assert [told.value("calotype_event_streams") for told in (during, after)] == [1, 0]
    assert during.value(f"{SECONDS}_count", **OF_STREAMS) == 1
    assert during.value(f"{SECONDS}_sum", **OF_STREAMS) == after.value(f"{SECONDS}_sum", **OF_STREAMS)
