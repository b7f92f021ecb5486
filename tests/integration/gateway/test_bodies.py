"""Large, slow and broken bodies over real HTTP."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from calotype.job.v1 import job_service_pb2
from calotype.size_limits import MAX_BODY_BYTES

from gateway.dependencies import Dependencies
from gateway.requests.body_reader import BodyReader
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


async def test_forty_mebibytes_of_pictures_go_through(client: httpx.AsyncClient, service: FakeJobService) -> None:
    picture = base64.b64encode(b"x" * (20 * MIB)).decode()
    images = [{"data": picture, "content_type": "image/png"}] * 2
    answer = await client.post("/v1/jobs", json={"prompt": "a", "input_images": images})
    assert answer.status_code == 202, answer.text
    request = service.last(job_service_pb2.CreateJobRequest).request
    assert [len(image.data) for image in request.input_images] == [20 * MIB] * 2


async def test_a_picture_too_large_and_too_many_together_are_named(client: httpx.AsyncClient) -> None:
    whole, large = (base64.b64encode(b"x" * size).decode() for size in (20 * MIB, 20 * MIB + 1))
    for fields, field in (
        ({"input_images": [{"data": large}]}, "input_images.0.data"),
        ({"input_images": [{"data": whole}] * 2, "mask": {"data": "eA=="}}, "mask"),
        ({"input_images": [{"data": whole}, {"data": whole}, {"data": "eA=="}]}, "input_images"),
    ):
        answer = await client.post("/v1/jobs", json={"prompt": "a", **fields})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_body_too_large_is_refused_whether_its_length_is_stated_or_not(client: httpx.AsyncClient) -> None:
    body = b'{"prompt": "' + b"a" * MAX_BODY_BYTES + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), MIB):
            yield body[begin : begin + MIB]

    for content in (body, chunks()):
        answer = await client.post("/v1/jobs", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["reason"]) == (413, "TOO_LARGE")


async def test_bodies_of_all_requests_together_are_bounded(service: FakeJobService) -> None:
    bodies = BodyReader(body_limit=1_000, memory_limit=1_500)
    async with (
        serving(service) as address,
        assembled(address, bodies=bodies) as (app, parts),
        over_http(app, parts) as client,
    ):
        release = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b'{"prompt": "' + b"a" * 900
            await release.wait()
            yield b'"}'

        first = asyncio.create_task(client.post("/v1/jobs", content=slow(), headers=JSON))
        async with asyncio.timeout(PATIENCE):
            while not bodies.held:
                await client.get("/healthz")
        refused = await client.post("/v1/jobs", json={"prompt": "b" * 900})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        release.set()
        assert (await first).status_code == 202
        assert (await client.post("/v1/jobs", json={"prompt": "b" * 900})).status_code == 202


async def test_a_client_that_goes_in_mid_body_leaves_nothing_behind(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b'Content-Length: 100\r\n\r\n{"prompt": ')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(PATIENCE):
        while "request.answered" not in [
            record.message for record in caplog.records if "/v1/jobs" in str(vars(record))
        ]:
            await client.get("/healthz")
    assert not service.requests
    assert parts.bodies.held == 0
