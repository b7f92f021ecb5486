"""`POST /v1/jobs`: a job is accepted once, under its key."""

import hashlib
import json

import grpc
import httpx
import pytest
from calotype.job.v1 import job_pb2, job_service_pb2

from common.errors import FieldViolation
from tests.support.job_service.fake_job_service import FakeJobService, refusal


async def test_a_job_is_accepted_with_its_location_and_where_to_go_on(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a harbour"})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == job["links"]["self"] == f"http://127.0.0.1:8080/v1/jobs/{job['id']}"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["retry-after"] == "1"
    assert (job["status"], job["display"]["actions"]) == ("queued", ["cancel"])
    assert (job["queue_position"], job["queue_position_is_exact"]) == (1, True)
    assert job["request"]["prompt"] == "a harbour"


async def test_every_field_of_a_request_reaches_job_service(client: httpx.AsyncClient, service: FakeJobService) -> None:
    sent = {
        "prompt": "two\nlines",
        "negative_prompt": "noise",
        "provider": "flux",
        "model": "flux-2",
        "fallback": ["openai"],
        "n": 3,
        "size": "512x768",
        "seed": 2**63 - 1,
        "quality": "high",
        "output_format": "webp",
        "background": "transparent",
        "output_compression": 0,
        "moderation": "low",
        "input_fidelity": "high",
        "input_images": [{"url": "https://a.example/x.png"}, {"data": "iVBORw==", "content_type": "image/png"}],
        "mask": {"data": "iVBORw=="},
        "provider_options": {"steps": 30, "deep": {"list": [1.5, None, True, "x"]}},
        "priority": "high",
        "start_within_seconds": 60,
        "finish_within_seconds": 600,
        "on_ambiguous": "retry",
        "fallback_on_refusal": True,
        "callback_url": "https://a.example/hook?x=1",
        "end_user": "u-1",
        "metadata": {"order": "1042"},
    }
    answer = await client.post("/v1/jobs", json=sent)
    assert answer.status_code == 202, answer.text
    asked = service.last(job_service_pb2.CreateJobRequest)
    request = asked.request
    assert asked.tenant == "default"
    assert (request.n, request.size, request.seed, request.priority) == (3, "512x768", 2**63 - 1, job_pb2.PRIORITY_HIGH)
    assert (request.background, request.moderation, request.input_fidelity) == ("transparent", "low", "high")
    assert (request.HasField("output_compression"), request.output_compression) == (True, 0)
    assert [one.WhichOneof("source") for one in request.input_images] == ["url", "data"]
    assert request.mask.data == b"\x89PNG"
    assert request.on_ambiguous == job_pb2.ON_AMBIGUOUS_RETRY
    assert answer.json()["request"]["provider_options"] == sent["provider_options"]
    assert answer.json()["request"]["callback_url"] == "https://a.example/hook?x=1"


async def test_a_job_that_is_final_at_once_is_answered_with_200(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    first = await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": '"k"'})
    service.move(first.json()["id"], status=job_pb2.STATUS_COMPLETED)
    again = await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert "retry-after" not in again.headers


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    await client.post("/v1/jobs", json={"prompt": "a"}, headers=headers)
    answer = await client.post("/v1/jobs", json={"prompt": "a", "n": 1}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_the_order_of_keys_and_spaces_make_no_other_body(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    await client.post("/v1/jobs", content=b'{"prompt":"a","n":2}', headers=headers)
    answer = await client.post("/v1/jobs", content=b'{ "n": 2, "prompt": "\\u0061" }', headers=headers)
    assert answer.headers["idempotency-replayed"] == "true"


async def test_the_fingerprint_is_of_the_body_as_sent(client: httpx.AsyncClient, service: FakeJobService) -> None:
    await client.post("/v1/jobs", json={"prompt": "ä"})
    canonical = json.dumps({"prompt": "ä"}, separators=(",", ":")).encode()
    asked = service.last(job_service_pb2.CreateJobRequest)
    assert asked.fingerprint == hashlib.sha256(canonical).hexdigest()


async def test_a_body_without_the_newer_fields_has_the_fingerprint_that_it_always_had(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    await client.post("/v1/jobs", json={"prompt": "a harbour", "n": 2, "output_format": "png"})
    asked = service.last(job_service_pb2.CreateJobRequest)
    assert asked.fingerprint == "0aaa34cf43b89aac2cc72f1dd0e74c7f1a4b81b0dcd9d8fe37ecf5325b07faf4"
    sent = asked.request.SerializeToString(deterministic=True)
    assert hashlib.sha256(sent).hexdigest() == "a58015213fa39199ca2bc6078a89bebf9b3436c8b3ed39b28ccf328361dd3fed"


async def test_a_ratio_may_be_a_decimal_one(client: httpx.AsyncClient, service: FakeJobService) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a", "aspect_ratio": "19.5:9"})
    assert answer.status_code == 202, answer.text
    assert service.last(job_service_pb2.CreateJobRequest).request.aspect_ratio == "19.5:9"


async def test_an_unavailable_answer_is_asked_again_under_one_key(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    service.refusals["CreateJob"].append(refusal(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"))
    answer = await client.post("/v1/jobs", json={"prompt": "a"})
    keys = {one.idempotency_key for one in service.requests}
    assert (answer.status_code, len(service.requests), len(keys)) == (202, 2, 1)
    assert "" not in keys


async def test_a_client_that_sent_no_key_is_told_the_one_under_which_asking_again_is_safe(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    away = refusal(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", "Starting.", retry_after_seconds=2)
    service.refusals["CreateJob"] = [away] * 3
    answer = await client.post("/v1/jobs", json={"prompt": "a"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    key = service.last(job_service_pb2.CreateJobRequest).idempotency_key
    assert answer.headers["idempotency-key"] == f'"{key}"'
    again = await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": f'"{key}"'})
    assert service.last(job_service_pb2.CreateJobRequest).idempotency_key == key
    assert again.status_code == 202


@pytest.mark.parametrize(
    "key", [b"", b'"', b'""', b"a b", "ä".encode("latin-1"), b"k" * 256, b'"open', b'"a"b"', b'"k";x=1']
)
async def test_a_bad_key_is_named(client: httpx.AsyncClient, key: bytes) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a"}, headers={b"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_two_keys_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/jobs", json={"prompt": "a"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    )
    assert answer.status_code == 422


async def test_what_job_service_finds_wrong_names_the_field(client: httpx.AsyncClient, service: FakeJobService) -> None:
    wrong = (FieldViolation(field="size", description="procedural takes sides of 64 to 2048."),)
    service.refusals["CreateJob"].append(
        refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", "size: no", field_violations=wrong)
    )
    answer = await client.post("/v1/jobs", json={"prompt": "a", "size": "8x8"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "size", "message": "procedural takes sides of 64 to 2048."}]


async def test_a_key_whose_job_was_deleted_is_gone(client: httpx.AsyncClient, service: FakeJobService) -> None:
    service.refusals["CreateJob"].append(refusal(grpc.StatusCode.FAILED_PRECONDITION, "JOB_DELETED"))
    answer = await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["reason"]) == (410, "JOB_DELETED")
