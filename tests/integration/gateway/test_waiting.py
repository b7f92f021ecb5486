"""`Prefer: wait` over real HTTP."""

import asyncio

import grpc
import httpx
from calotype.job.v1 import job_pb2, job_service_pb2

from gateway.dependencies import Dependencies
from tests.support.job_service.fake_job_service import FakeJobService, refusal
from tests.support.patience import PATIENCE

WAIT = {"Prefer": "wait=20"}


async def _watched(service: FakeJobService) -> None:
    await asyncio.wait_for(service.until(lambda now: now.watching == 1), timeout=PATIENCE)


async def test_a_submission_can_wait_for_the_final_state(client: httpx.AsyncClient, service: FakeJobService) -> None:
    asked = asyncio.create_task(client.post("/v1/jobs", json={"prompt": "a"}, headers=WAIT))
    await _watched(service)
    [job_id] = service.history
    service.move(job_id, status=job_pb2.STATUS_PROCESSING)
    service.move(job_id, status=job_pb2.STATUS_COMPLETED)
    answer = await asked
    assert (answer.status_code, answer.json()["status"], answer.json()["sequence"]) == (200, "completed", 3)
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"].endswith(job_id)
    assert answer.json()["request"]["prompt"] == "a"


async def test_a_wait_that_is_over_is_answered_with_the_job_as_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


async def test_looking_can_wait_for_the_final_state(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    asked = asyncio.create_task(client.get(f"/v1/jobs/{job.id}", headers=WAIT))
    await _watched(service)
    service.move(job.id, status=job_pb2.STATUS_PROCESSING)
    service.move(job.id, status=job_pb2.STATUS_CANCELED)
    assert (await asked).json()["status"] == "canceled"


async def test_looking_can_wait_for_any_change(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    asked = asyncio.create_task(client.get(f"/v1/jobs/{job.id}", headers={**WAIT, "If-None-Match": 'W/"1"'}))
    await _watched(service)
    service.move(job.id, status=job_pb2.STATUS_PROCESSING)
    answer = await asked
    assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "processing", 'W/"2"')


async def test_a_change_that_the_client_does_not_know_is_told_at_once(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add(sequence=3)
    answer = await client.get(f"/v1/jobs/{job.id}", headers={**WAIT, "If-None-Match": 'W/"2"'})
    assert (answer.status_code, answer.json()["sequence"]) == (200, 3)
    assert not [one for one in service.requests if isinstance(one, job_service_pb2.WatchJobRequest)]


async def test_no_change_within_the_time_is_told_as_such(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    answer = await client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=1", "If-None-Match": 'W/"1"'})
    assert (answer.status_code, answer.headers["preference-applied"]) == (304, "wait=1")


async def test_a_draining_gateway_lets_nobody_wait(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies
) -> None:
    asked = asyncio.create_task(client.post("/v1/jobs", json={"prompt": "a"}, headers=WAIT))
    await _watched(service)
    parts.draining.set()
    answer = await asyncio.wait_for(asked, timeout=PATIENCE)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_a_job_that_was_accepted_is_told_even_if_the_service_goes_away_meanwhile(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    away = refusal(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    service.refusals["WatchJob"] = [away] * 1_000
    service.refusals["GetJob"] = [away] * 2
    answer = await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Prefer": "wait=2"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
