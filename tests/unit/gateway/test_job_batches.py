"""`POST /v1/jobs:batch`: each item is accepted or refused alone, under its own key."""

import json
import logging

import grpc
import httpx
import pytest
from calotype.job.v1 import job_service_pb2

from common.errors import FieldViolation
from tests.support.job_service.fake_job_service import FakeJobService, refusal

PATH = "/v1/jobs:batch"


async def test_results_come_in_order_and_bad_items_leave_the_others(
    client: httpx.AsyncClient, service: FakeJobService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    items = [
        {"prompt": "one"},
        {"prompt": "two", "n": 11},
        {"prompt": "nul \x00"},
        {"prompt": "x" * 32_001},
        {"prompt": "bad key", "idempotency_key": "a b"},
        {"prompt": "deep", "provider_options": json.loads("[" * 30 + "]" * 30)},
        "a prompt",
        {"prompt": "last", "unknown": 1, "input_images": []},
        {"prompt": "eight", "input_images": [{"data": "iVBORw=="}]},
    ]
    answer = await client.post(PATH, json={"jobs": items})
    results = answer.json()["results"]

    assert (answer.status_code, len(service.requests)) == (200, 1)
    problems = [result["problem"] and (result["problem"]["status"], result["problem"]["reason"]) for result in results]
    invalid, malformed = (422, "INVALID_INPUT"), (400, "MALFORMED")
    assert problems == [None, invalid, invalid, invalid, invalid, malformed, malformed, invalid, None]
    fields = [result["problem"]["errors"][0]["field"] for result in results[1:5]]
    assert fields == ["n", "prompt", "prompt", "idempotency_key"]
    assert {result["problem"]["instance"] for result in results[1:8]} == {PATH}
    assert [results[index]["job"]["request"]["prompt"] for index in (0, 8)] == ["one", "eight"]
    assert len(service.last(job_service_pb2.CreateJobsRequest).items[1].request.input_images[0].data) == 4
    outcomes = [vars(record)["outcome"] for record in caplog.records if vars(record).get("action") == "createJobs"]
    assert outcomes == ["done", *["INVALID_INPUT"] * 4, *["MALFORMED"] * 2, "INVALID_INPUT", "done"]


async def test_an_item_and_a_single_request_with_one_key_make_one_job(client: httpx.AsyncClient) -> None:
    single = await client.post("/v1/jobs", json={"prompt": "a", "n": 2}, headers={"Idempotency-Key": "k"})
    answer = await client.post(
        PATH,
        json={"jobs": [{"idempotency_key": "k", "n": 2, "prompt": "a"}, {"idempotency_key": "k", "prompt": "b"}]},
    )
    same, other = answer.json()["results"]

    assert (same["job"]["id"], same["replayed"]) == (single.json()["id"], True)
    assert (other["problem"]["reason"], other["replayed"]) == ("IDEMPOTENCY_KEY_REUSED", False)
    assert "idempotency-replayed" not in answer.headers


async def test_the_key_of_the_request_stands_for_items_without_one(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    away = refusal(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", "Starting.", retry_after_seconds=2)
    service.refusals["CreateJobs"] = [away] * 3
    bad, good = {"prompt": ""}, {"prompt": "a"}
    first = await client.post(PATH, json={"jobs": [bad, good, good]})
    headers = {"Idempotency-Key": first.headers["idempotency-key"]}
    sent = [{item.idempotency_key for item in request.items} for request in service.requests]
    second = await client.post(PATH, json={"jobs": [bad, good, good]}, headers=headers)
    # What was refused is corrected; the others keep their places, and so their keys.
    third = await client.post(PATH, json={"jobs": [good, good, good]}, headers=headers)

    assert (first.status_code, first.headers["retry-after"], second.status_code) == (503, "2", 200)
    assert sent == [sent[0]] * 3
    assert [result["replayed"] for result in third.json()["results"]] == [False, True, True]
    again = await client.post(PATH, json={"jobs": [good, good, good]}, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_refusal_of_an_item_says_when_to_send_it_again(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    full = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry_after_seconds=4.5)
    wrong = (FieldViolation(field="size", description="Too small."),)
    bad = refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", "size: Too small.", field_violations=wrong)
    service.refusals["CreateJobsItem"] = [full, bad]
    first, second = (await client.post(PATH, json={"jobs": [{"prompt": "a"}] * 2})).json()["results"]

    assert (first["job"], first["problem"]["status"], first["problem"]["retryable"]) == (None, 429, True)
    assert (first["retry_after_seconds"], second["retry_after_seconds"]) == (4.5, None)
    assert second["problem"]["errors"] == [{"field": "size", "message": "Too small."}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{}", "jobs"),
        ('{"jobs": {}}', "jobs"),
        ('{"jobs": []}', "jobs"),
        (json.dumps({"jobs": [{"prompt": "a"}] * 101}), "jobs"),
        ('{"jobs": [{"prompt": "a"}], "more": 1}', "more"),
        ('{"jobs": [], "jobs": [{"prompt": "a"}]}', "jobs"),
    ],
)
async def test_a_wrong_batch_is_refused_as_a_whole(
    client: httpx.AsyncClient, service: FakeJobService, body: str, field: str
) -> None:
    answer = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert not service.requests


async def test_a_form_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, data={"jobs": "[]"}, files={"image": b"png"})
    assert (answer.status_code, answer.json()["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_batch_without_a_good_item_reaches_nobody(client: httpx.AsyncClient, service: FakeJobService) -> None:
    answer = await client.post(PATH, json={"jobs": [{}, {"prompt": 1}]})
    assert [result["problem"]["status"] for result in answer.json()["results"]] == [422, 422]
    assert not service.requests
