"""`/v1/webhooks`: endpoints and their secrets, on a fake notifier that is reached by real gRPC."""

import logging
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import grpc
import httpx
import pytest
from calotype.notifier.v1 import webhook_service_pb2 as notifier

from common.errors import FieldViolation
from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from tests.support.gateway.gateway_app import assembled, free_use, in_process
from tests.support.job_service.fake_job_service import FakeJobService, refusal, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks

NOON = "2026-01-31T12:00:00.250000Z"
NEW = {"url": "https://shop.example/hook"}
LIMITED = {"Authorization": "Bearer acme-key"}
OTHER = {"Authorization": "Bearer other-key"}
KEYS = Keyring(
    [
        Principal(
            tenant="acme", key_sha256=sha256(b"acme-key").hexdigest(), limits=TenantQuota(requests_per_minute=600)
        ),
        Principal(tenant="other", key_sha256=sha256(b"other-key").hexdigest()),
    ]
)


@pytest.fixture
async def webhooks() -> FakeWebhookService:
    """What answers the gateway about webhooks."""
    return FakeWebhookService()


@pytest.fixture
async def jobs() -> FakeJobService:
    """What answers it about jobs."""
    return FakeJobService()


@pytest.fixture
async def http(webhooks: FakeWebhookService, jobs: FakeJobService) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with keys; without a key it is the tenant `default`."""
    async with (
        serving(jobs) as address,
        serving_webhooks(webhooks) as notifier_address,
        assembled(address, notifier=notifier_address, authenticator=Authenticator(KEYS, free_use=free_use())) as (
            app,
            _,
        ),
        in_process(app) as opened,
    ):
        yield opened


async def test_an_endpoint_is_created_with_its_secret_in_that_response_alone(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        created = await http.post("/v1/webhooks", json=NEW | {"description": "orders", "event_types": ["job.failed"]})
    body = created.json()
    secret = body.pop("secret")
    read = await http.get(f"/v1/webhooks/{body['id']}")
    listed = await http.get("/v1/webhooks")

    assert (created.status_code, secret) == (201, "whsec_Y3JlYXRlZA==")
    assert created.headers["Location"] == f"http://127.0.0.1:8080/v1/webhooks/{body['id']}"
    assert created.headers["Cache-Control"] == "no-store"
    assert "Idempotency-Replayed" not in created.headers
    assert body == {
        "id": body["id"],
        "url": "https://shop.example/hook",
        "description": "orders",
        "event_types": ["job.failed"],
        "signature_scheme": "v1",
        "public_keys": [],
        "enabled": True,
        "health": {
            "state": "healthy",
            "failing_since": None,
            "will_disable_at": None,
            "last_error": None,
            "last_status": None,
            "disabled_reason": None,
            "disabled_at": None,
            "next_attempt_at": None,
        },
        "secrets": [{"created_at": NOON, "expires_at": None}],
        "created_at": NOON,
        "updated_at": NOON,
    }
    assert (read.json(), listed.json()) == (body, {"webhooks": [body], "next_page_token": None})
    assert all("whsec_" not in f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert webhooks.last(notifier.CreateWebhookRequest).tenant == "default"


async def test_an_ed25519_endpoint_has_a_public_key_and_no_secret(http: httpx.AsyncClient) -> None:
    created = (await http.post("/v1/webhooks", json=NEW | {"signature_scheme": "v1a"})).json()
    rotated = (await http.post(f"/v1/webhooks/{created['id']}/rotate-secret")).json()

    assert (created["secret"], created["public_keys"]) == (None, ["whpk_Y3JlYXRlZA=="])
    assert (rotated["secret"], rotated["public_key"]) == (None, "whpk_cm90YXRlZA==")


async def test_a_key_creates_one_endpoint(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    key = {"Idempotency-Key": '"order 1"'.replace(" ", "-")}
    first = await http.post("/v1/webhooks", json=NEW, headers=key)
    again = await http.post("/v1/webhooks", json=NEW, headers=key)
    other = await http.post("/v1/webhooks", json={"url": "https://other.example"}, headers=key)

    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(webhooks.webhooks) == 1
    assert webhooks.last(notifier.CreateWebhookRequest).idempotency_key == "order-1"


async def test_without_a_key_each_request_creates_an_endpoint(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    webhooks.refusals["CreateWebhook"] = [refusal(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")]
    for _ in range(2):
        assert (await http.post("/v1/webhooks", json=NEW)).status_code == 201

    asked = [request for request in webhooks.asked if isinstance(request, notifier.CreateWebhookRequest)]
    assert len(webhooks.webhooks) == 2
    # The gateway's own repetition has the key of the attempt that was lost.
    assert asked[0].idempotency_key == asked[1].idempotency_key != asked[2].idempotency_key


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": "ftp://a.example"}, "url"),
        ({"url": "https://u:p@a.example"}, "url"),
        ({"url": "https://a.example/\nX: y"}, "url"),
        ({"url": f"https://a.example/{'a' * 2048}"}, "url"),
        (NEW | {"description": "a" * 201}, "description"),
        (NEW | {"description": "nul \x00"}, "description"),
        (NEW | {"description": "two\nlines"}, "description"),
        (NEW | {"description": "two\u2028lines"}, "description"),
        (NEW | {"description": "C1 \x82"}, "description"),
        (NEW | {"event_types": ["job.created"]}, "event_types.0"),
        (NEW | {"event_types": ["job.failed"] * 8}, "event_types"),
        (NEW | {"event_types": ["webhook.test"]}, "event_types.0"),
        (NEW | {"signature_scheme": "v2"}, "signature_scheme"),
        (NEW | {"enabled": True}, "enabled"),
        (NEW | {"secret": "whsec_mine"}, "secret"),
    ],
)
async def test_a_field_that_cannot_be_is_named(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, body: dict[str, Any], field: str
) -> None:
    answer = await http.post("/v1/webhooks", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert webhooks.asked == []


async def test_what_the_notifier_refuses_is_told_in_its_words(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    private = FieldViolation(field="url", description="10.0.0.1 is not a public address.")
    webhooks.refusals["CreateWebhook"] = [
        refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "FORBIDDEN_ADDRESS", private.description, field_violations=(private,)
        ),
        refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", "20 webhooks are allowed."),
    ]
    forbidden = await http.post("/v1/webhooks", json=NEW)
    too_many = await http.post("/v1/webhooks", json=NEW)

    assert (forbidden.status_code, forbidden.json()["reason"]) == (422, "FORBIDDEN_ADDRESS")
    assert forbidden.json()["errors"] == [{"field": "url", "message": "10.0.0.1 is not a public address."}]
    assert (too_many.status_code, too_many.json()["detail"]) == (429, "20 webhooks are allowed.")


async def test_a_patch_changes_what_it_names(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add(description="orders", event_types=["job.failed"])
    path = f"/v1/webhooks/{webhook.id}"

    disabled = (await http.patch(path, json={"enabled": False})).json()
    assert (disabled["enabled"], disabled["health"]["state"]) == (False, "disabled")
    assert (disabled["health"]["disabled_reason"], disabled["health"]["disabled_at"]) == ("by_tenant", NOON)
    assert (disabled["url"], disabled["description"], disabled["event_types"]) == (
        "https://shop.example/hook",
        "orders",
        ["job.failed"],
    )
    changed = (await http.patch(path, json={"url": "https://b.example", "description": None, "event_types": []})).json()
    assert (changed["url"], changed["description"], changed["event_types"]) == ("https://b.example", None, [])
    assert changed["enabled"] is False
    assert (await http.patch(path, json={"event_types": None, "enabled": True})).json()["enabled"] is True
    assert (await http.patch(path, json={})).status_code == 200
    sent = webhooks.last(notifier.UpdateWebhookRequest)
    assert [field.name for field, _ in sent.ListFields()] == ["tenant", "webhook_id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": None}, "url"),
        ({"enabled": None}, "enabled"),
        ({"enabled": "yes"}, "enabled"),
        ({"signature_scheme": "v1a"}, "signature_scheme"),
        ({"id": "wh_1"}, "id"),
    ],
)
async def test_a_patch_that_cannot_be_names_the_field(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, body: dict[str, Any], field: str
) -> None:
    answer = await http.patch(f"/v1/webhooks/{webhooks.add().id}", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_an_endpoint_is_deleted_and_may_be_deleted_again(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    path = f"/v1/webhooks/{webhooks.add().id}"

    assert [(await http.delete(path)).status_code for _ in range(2)] == [204, 204]
    gone = await http.get(path)
    assert (gone.status_code, gone.json()["reason"]) == (404, "NOT_FOUND")


async def test_a_secret_is_rotated_once_by_a_key_and_each_path_has_keys_of_its_own(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    paths = [f"/v1/webhooks/{name}/rotate-secret" for name in (webhooks.add().id, webhooks.add().id, "signing-secret")]
    key = {"Idempotency-Key": "k" * 255}
    for path in paths:
        first = await http.post(path, json={"grace_seconds": 60}, headers=key)
        again = await http.post(path, json={"grace_seconds": 60}, headers=key)
        assert first.json() == {
            "secret": "whsec_cm90YXRlZA==",
            "public_key": None,
            "old_expires_at": "2026-01-31T12:01:00.250000Z",
        }
        assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
        replayed = [answer.headers.get("Idempotency-Replayed") for answer in (first, again)]
        assert (replayed, first.headers["Cache-Control"]) == ([None, "true"], "no-store")
    asked = [request for request in webhooks.asked if isinstance(request, notifier.RotateSecretRequest)]
    assert len({request.idempotency_key for request in asked}) == 3
    assert all(len(request.idempotency_key) <= 255 for request in asked)
    assert asked[-1].webhook_id == ""


async def test_without_a_body_the_old_secret_remains_valid_for_a_day(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    assert (await http.post(f"/v1/webhooks/{webhooks.add().id}/rotate-secret")).status_code == 200
    assert webhooks.last(notifier.RotateSecretRequest).grace_seconds == 86_400


@pytest.mark.parametrize("seconds", [-1, 604_801, None, "60"])
async def test_a_grace_that_cannot_be_is_named(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, seconds: Any
) -> None:
    path = f"/v1/webhooks/{webhooks.add().id}/rotate-secret"
    answer = await http.post(path, json={"grace_seconds": seconds})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "grace_seconds")


async def test_the_signing_secret_of_callback_urls_can_be_read(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/webhooks/signing-secret")

    assert answer.json() == {"secret": "whsec_c2lnbmluZw==", "secrets": [{"created_at": NOON, "expires_at": None}]}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_list_goes_on_by_its_token(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    webhooks.next_page_token = "next"
    first = await http.get("/v1/webhooks", params={"page_size": 1})
    await http.get("/v1/webhooks", params={"page_token": "next"})

    assert first.json()["next_page_token"] == "next"
    assert [(one.page_size, one.page_token) for one in webhooks.asked] == [(1, ""), (20, "next")]


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=101", "page_token=a%00", "limit=3", "page_size=1&page_size=2"]
)
async def test_a_parameter_that_cannot_be_is_named(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, query: str
) -> None:
    answer = await http.get(f"/v1/webhooks?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])
    assert webhooks.asked == []


async def test_what_a_tenant_has_another_does_not_find(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add(tenant="acme")
    delivery = webhooks.deliver(tenant="acme", webhook_id=webhook.id, state=notifier.DELIVERY_STATE_FAILED)
    path = f"/v1/webhooks/{webhook.id}"
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", path, {}),
        ("PATCH", path, {"json": {"enabled": False}}),
        ("DELETE", path, {}),
        ("POST", f"{path}/test", {}),
        ("POST", f"{path}/rotate-secret", {}),
        ("POST", f"{path}/redeliver", {"json": {"after": "2026-01-31T00:00:00Z"}}),
        ("GET", f"{path}/deliveries", {}),
        ("GET", f"{path}/deliveries/{delivery.id}", {}),
        ("POST", f"/v1/webhooks/deliveries/{delivery.id}/redeliver", {}),
    ]
    for method, url, request in calls:
        hidden = await http.request(method, url, headers=OTHER, **request)
        assert (hidden.status_code, hidden.json()["reason"]) == (404, "NOT_FOUND"), (method, url)
    assert (await http.get("/v1/webhooks", headers=OTHER)).json()["webhooks"] == []
    assert webhooks.webhooks[webhook.id].enabled
    # The delivery is sent again while it is failed; the endpoint is deleted last.
    for method, url, request in [calls[-1], *calls[3:-1], *calls[:3]]:
        assert (await http.request(method, url, headers=LIMITED, **request)).is_success, (method, url)


@pytest.mark.parametrize("webhook_id", ["a" * 81, "wh_%00", "a.b", "%E2%82%AC"])
async def test_an_id_that_cannot_be_is_not_asked_for(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, webhook_id: str
) -> None:
    for path in (webhook_id, f"{webhook_id}/deliveries", f"callbacks/deliveries/{webhook_id}"):
        assert (await http.get(f"/v1/webhooks/{path}")).json()["reason"] == "NOT_FOUND"
    assert webhooks.asked == []


async def test_a_client_token_may_do_none_of_this(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, jobs: FakeJobService, document: dict[str, Any]
) -> None:
    job = jobs.add(tenant="acme")
    wanted = {"job_id": job.id, "actions": ["read", "cancel", "retry"]}
    token = (await http.post("/v1/client-tokens", json=wanted, headers=LIMITED)).json()["token"]
    calls = [(method, path) for path, one in document["paths"].items() for method in one if "webhooks" in path]
    assert len(calls) == 16
    for method, path in calls:
        url = path.replace("{webhook_id}", "wh_1").replace("{delivery_id}", "msg_1").replace("{name}", "acme")
        answer = await http.request(method, url, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED"), (method, path)
    assert webhooks.asked == []


async def test_a_request_counts_against_the_tenants_rate(
    http: httpx.AsyncClient, jobs: FakeJobService, webhooks: FakeWebhookService
) -> None:
    counted = await http.get("/v1/webhooks", headers=LIMITED)
    jobs.refusals["TakeRequest"] = [
        refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "QUOTA_EXCEEDED",
            retry_after_seconds=3,
            metadata={"quota": "requests_per_minute"},
        )
    ]
    refused = await http.post("/v1/webhooks", json=NEW, headers=LIMITED)

    assert counted.headers["RateLimit"] == '"requests";r=1;t=1'
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3")
    assert not webhooks.webhooks


async def test_while_the_notifier_is_away_only_webhooks_are_unavailable(jobs: FakeJobService) -> None:
    async with serving(jobs) as address, assembled(address) as (app, deps), in_process(app) as http:
        deps.ready.set("job-service", True)
        away = await http.get("/v1/webhooks")
        tested = await http.post("/v1/webhooks/wh_1/test")
        assert (await http.get("/v1/jobs")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200

    for answer in (away, tested):
        assert (answer.status_code, answer.json()["reason"]) == (503, "SERVICE_UNAVAILABLE")
        assert answer.json()["detail"] == "The notifier cannot be reached right now. Try again."
        assert answer.headers["Retry-After"] == "1"


async def test_a_defect_of_the_notifier_is_logged_under_its_name(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, caplog: pytest.LogCaptureFixture
) -> None:
    webhooks.refusals["ListWebhooks"] = [refusal(grpc.StatusCode.INTERNAL, "INTERNAL", "10.0.0.7:5432 refused")]
    answer = await http.get("/v1/webhooks")

    assert (answer.status_code, "10.0.0.7" in answer.text) == (500, False)
    assert "notifier.failed" in [record.getMessage() for record in caplog.records]
