"""Jobs that are there: shown, listed, canceled, put back, deleted."""

import hashlib
from datetime import timedelta

import grpc
import httpx
import pytest
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.provider.v1 import provider_pb2

from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal
from tests.support.gateway.gateway_app import Clock, assembled, in_process
from tests.support.job_service.fake_job_service import NOON, FakeJobService, failure, refusal, serving


async def test_a_job_is_shown_with_every_key(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    answer = await client.get(f"/v1/jobs/{job.id}")
    shown = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert shown["created_at"] == "2026-01-31T12:00:00.250000Z"
    for empty in ("failure_stage", "error", "queue_position", "provider_cancel", "end_user", "started_at"):
        assert shown[empty] is None
    assert shown["queue_position_is_exact"] is None
    assert shown["cost"] == {"amount_micros": None, "currency": "USD", "complete": True}
    assert list(shown["links"]) == ["self", "events", "cancel", "retry", "attempts", "trace"]
    assert shown["request"]["negative_prompt"] is None


@pytest.mark.parametrize(
    ("told", "scheme"),
    [({}, "http"), ({"X-Forwarded-Proto": "https"}, "https"), ({"X-Forwarded-Proto": "HTTPS, http"}, "https")]
    + [({"X-Forwarded-Proto": wrong}, "http") for wrong in ("javascript", "", "http")],
)
async def test_links_begin_with_the_address_that_the_client_used_before_a_proxy(
    service: FakeJobService, told: dict[str, str], scheme: str
) -> None:
    keyring = Keyring([Principal(tenant="acme", key_sha256=hashlib.sha256(b"key").hexdigest())])
    job = service.add(tenant="acme")
    async with (
        serving(service) as address,
        assembled(address, authenticator=Authenticator(keyring)) as (app, _),
        in_process(app, host="api.example:8443") as client,
    ):
        answer = await client.get(f"/v1/jobs/{job.id}", headers={"Authorization": "Bearer key"} | told)

    assert answer.json()["links"]["events"] == f"{scheme}://api.example:8443/v1/jobs/{job.id}/events"


async def test_a_job_of_another_tenant_is_not_there(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="other")
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/attempts"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ):
        answer = await client.request(method, f"/v1/jobs/{job.id}{path}")
        assert (answer.status_code, answer.json()["reason"]) == (404, "JOB_NOT_FOUND"), (method, path)


@pytest.mark.parametrize("job_id", ["nope", "job_1%00", "job_%C3%A4", "a" * 200, "%2e%2e", "job_1%0a"])
async def test_an_id_that_never_was_is_not_there(client: httpx.AsyncClient, job_id: str) -> None:
    answer = await client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 404


async def test_a_job_that_the_client_knows_is_not_sent_again(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add()
    for tag, status in (('W/"1"', 304), ('"1"', 304), ('W/"0", W/"1"', 304), ("*", 304), ('W/"2"', 200), ("1", 200)):
        answer = await client.get(f"/v1/jobs/{job.id}", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.headers["etag"]) == (status, 'W/"1"'), tag
        assert bool(answer.content) == (status == 200)


async def test_polling_slows_down_with_age(client: httpx.AsyncClient, service: FakeJobService, clock: Clock) -> None:
    job = service.add()
    seen = []
    for age in (0, 10, 11, 600):
        clock.now = NOON + timedelta(seconds=age)
        answer = await client.get(f"/v1/jobs/{job.id}")
        seen.append((answer.json()["display"]["poll_after_ms"], answer.headers["retry-after"]))
    assert seen == [(1000, "1"), (1000, "1"), (1500, "2"), (10000, "10")]


async def test_all_filters_reach_job_service(client: httpx.AsyncClient, service: FakeJobService) -> None:
    query = (
        "status=queued&status=failed&provider=flux&failure_stage=uploading&code=RATE_LIMIT&end_user=u"
        "&created_after=2026-01-01T00:00:00Z&created_before=2026-02-01T00:00:00.5%2B01:00"
        "&metadata.order=1042&metadata.a.b=c&metadata.metadata=x&page_size=7&page_token=opaque"
    )
    answer = await client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 200, answer.text
    asked = service.last(job_service_pb2.ListJobsRequest)
    assert [*asked.statuses] == [job_pb2.STATUS_QUEUED, job_pb2.STATUS_FAILED]
    assert (asked.provider, asked.end_user, asked.page_size, asked.page_token) == ("flux", "u", 7, "opaque")
    assert (asked.failure_stage, asked.code) == (error_pb2.STAGE_UPLOADING, error_pb2.CODE_RATE_LIMIT)
    assert asked.created_after.ToJsonString() == "2026-01-01T00:00:00Z"
    assert asked.created_before.ToJsonString() == "2026-01-31T23:00:00.500Z"
    assert dict(asked.metadata) == {"order": "1042", "a.b": "c", "metadata": "x"}


async def test_a_list_has_a_token_until_its_end(client: httpx.AsyncClient, service: FakeJobService) -> None:
    first, second = service.add(), service.add()
    service.add(tenant="other")
    service.next_page_token = "more"
    page = (await client.get("/v1/jobs")).json()
    assert [job["id"] for job in page["jobs"]] == [second.id, first.id]
    assert page["next_page_token"] == "more"
    service.next_page_token = ""
    assert (await client.get("/v1/jobs")).json()["next_page_token"] is None
    asked = service.last(job_service_pb2.ListJobsRequest)
    assert (asked.page_size, asked.failure_stage, asked.HasField("created_after")) == (20, 0, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status.0"),
        ("status=QUEUED", "status.0"),
        ("failure_stage=GENERATING", "failure_stage"),
        ("code=temporary", "code"),
        ("created_after=yesterday", "created_after"),
        ("created_after=1700000000", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_before=2026-13-01T00:00:00Z", "created_before"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=x", "page_size"),
        ("page_size=", "page_size"),
        ("page_token=" + "x" * 3000, "page_token"),
        ("end_user=a%00", "end_user"),
        ("metadata.=x", "metadata."),
        ("metadata.k=%00", "metadata.k"),
        ("metadata=x", "metadata"),
        ("metadata=x&metadata.k=v", "metadata"),
        ("metadata.k=v&metadata.k=w", "metadata.k"),
        ("provider=a&provider=b", "provider"),
        ("stauts=queued", "stauts"),
        ("x%ff=1", "x\ufffd"),
    ],
)
async def test_a_bad_filter_is_named(client: httpx.AsyncClient, query: str, field: str) -> None:
    answer = await client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_job_is_canceled_and_canceled_again(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    for _ in range(2):
        answer = await client.post(f"/v1/jobs/{job.id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        assert answer.json()["provider_cancel"] == "not_needed"


async def test_a_final_job_is_not_canceled_and_comes_with_the_refusal(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add(status=job_pb2.STATUS_COMPLETED)
    answer = await client.post(f"/v1/jobs/{job.id}/cancel")
    problem = answer.json()
    assert (answer.status_code, problem["reason"], problem["job"]["id"]) == (409, "WRONG_STATE", job.id)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_failed_job_is_put_back(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_FAILED, failure=failure())
    wish = {"on_ambiguous": "retry", "expected_sequence": 1}
    answer = await client.post(f"/v1/jobs/{job.id}/retry", json=wish, headers={"Idempotency-Key": "r"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    asked = service.last(job_service_pb2.RetryJobRequest)
    assert (asked.idempotency_key, asked.on_ambiguous, asked.expected_sequence) == ("r", job_pb2.ON_AMBIGUOUS_RETRY, 1)


async def test_a_retry_needs_no_body(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_FAILED, failure=failure())
    assert (await client.post(f"/v1/jobs/{job.id}/retry")).status_code == 202
    asked = service.last(job_service_pb2.RetryJobRequest)
    assert (asked.on_ambiguous, asked.HasField("expected_sequence")) == (job_pb2.ON_AMBIGUOUS_FAIL, False)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "CONSENT_REQUIRED"),
        (grpc.StatusCode.ABORTED, "SEQUENCE_CHANGED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE"),
    ],
)
async def test_a_refused_retry_says_why_and_how_the_job_stands(
    client: httpx.AsyncClient, service: FakeJobService, status: grpc.StatusCode, reason: str
) -> None:
    job = service.add(status=job_pb2.STATUS_FAILED, failure=failure())
    service.refusals["RetryJob"].append(refusal(status, reason))
    answer = await client.post(f"/v1/jobs/{job.id}/retry")
    problem = answer.json()
    assert (answer.status_code, problem["reason"], problem["job"]["status"]) == (409, reason, "failed")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"on_ambiguous": "maybe"}', 422, "on_ambiguous"),
        (b'{"expected_sequence": -1}', 422, "expected_sequence"),
        (b'{"expected_sequence": true}', 422, "expected_sequence"),
        (b'{"expected": 1}', 422, "expected"),
        (b"[]", 400, None),
        (b" ", 400, None),
    ],
)
async def test_a_bad_retry_is_refused(
    client: httpx.AsyncClient, service: FakeJobService, body: bytes, status: int, field: str | None
) -> None:
    job = service.add(status=job_pb2.STATUS_FAILED)
    answer = await client.post(f"/v1/jobs/{job.id}/retry", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert [one["field"] for one in answer.json()["errors"]] == ([field] if field else [])


async def test_a_final_job_is_deleted_and_then_gone(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_COMPLETED)
    answer = await client.delete(f"/v1/jobs/{job.id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 404
    assert (await client.delete(f"/v1/jobs/{job.id}")).status_code == 404


async def test_a_job_under_way_is_not_deleted(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    answer = await client.delete(f"/v1/jobs/{job.id}")
    assert (answer.status_code, answer.json()["job"]["id"]) == (409, job.id)


async def test_attempts_show_what_was_bought(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    bought = job_pb2.ProviderCall(
        id="call_1",
        provider="flux",
        model="m",
        phase=job_pb2.CALL_PHASE_NOT_SENT,
        image_indexes=[0, 1],
        cost_micros=40_000,
        consent=job_pb2.CONSENT_USER,
        operation_state={"poll": "https://secret.example"},
        error=job_pb2.ProviderError(http_status=503, message="busy"),
    )
    unknown = job_pb2.ProviderCall(id="call_2", phase=job_pb2.CALL_PHASE_UNKNOWN)
    service.attempts = [
        job_pb2.Attempt(
            number=2,
            stage=error_pb2.STAGE_GENERATING,
            worker="w",
            outcome="failed",
            failure=failure(stage="PERSISTING"),
            counted=True,
            provider_calls=[bought, unknown],
        )
    ]
    answer = await client.get(f"/v1/jobs/{job.id}/attempts")
    [attempt] = answer.json()["attempts"]
    assert (attempt["number"], attempt["stage"], attempt["failure_stage"]) == (2, "generating", "persisting")
    assert attempt["error"]["reason"] == "PROVIDER_UNAVAILABLE"
    assert attempt["ended_at"] is None
    first, second = attempt["provider_calls"]
    assert (first["phase"], first["cost"]["amount_micros"], first["consent"]) == ("not_sent", 40_000, "user")
    assert first["provider_error"] == {"http_status": 503, "code": None, "message": "busy", "request_id": None}
    assert (second["phase"], second["cost"], second["provider_error"]) == ("unknown", None, None)
    assert "secret" not in answer.text


async def test_providers_are_listed_with_what_they_can_do(client: httpx.AsyncClient, service: FakeJobService) -> None:
    assert (await client.get("/v1/providers")).json() == {"providers": []}
    able = provider_pb2.Capabilities(max_images_per_call=4, seed=True, sizes=["512x512"], max_side=2048)
    service.providers = [
        provider_pb2.Provider(
            name="flux",
            kind="bfl",
            is_default=True,
            models=[
                provider_pb2.Model(name="m", price_micros_per_image=4),
                provider_pb2.Model(name="x", capabilities=provider_pb2.Capabilities(max_input_images=3)),
            ],
            capabilities=able,
            default_model="m",
            timeout_seconds=300,
            outages=[
                provider_pb2.Outage(model="x", code=error_pb2.CODE_AUTH_ERROR, reason=error_pb2.REASON_PROVIDER_AUTH)
            ],
        )
    ]
    [shown] = (await client.get("/v1/providers")).json()["providers"]
    assert [model["price_micros_per_image"] for model in shown["models"]] == [4, None]
    first, second = shown["models"]
    assert (first["capabilities"], second["capabilities"]["max_input_images"]) == (None, 3)
    assert (shown["max_concurrency"], shown["requests_per_minute"]) == (None, None)
    assert (shown["capabilities"]["seed"], shown["capabilities"]["min_side"]) == (True, None)
    [outage] = shown["health"]["outages"]
    assert (shown["health"]["status"], outage["model"], outage["code"]) == ("degraded", "x", "AUTH_ERROR")
