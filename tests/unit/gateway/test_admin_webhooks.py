"""Webhooks of any tenant over HTTP: operators alone list them and send deliveries again."""

from collections.abc import AsyncIterator
from hashlib import sha256

import httpx
import pytest
from calotype.notifier.v1 import webhook_service_pb2 as notifier

from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal
from tests.support.gateway.gateway_app import assembled, free_use, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks

OPERATOR, TENANT = {"Authorization": "Bearer operator-key"}, {"Authorization": "Bearer tenant-key"}
KEYS = Keyring(
    [
        Principal(tenant="ops", role="operator", key_sha256=sha256(b"operator-key").hexdigest()),
        Principal(tenant="default", key_sha256=sha256(b"tenant-key").hexdigest()),
    ]
)


@pytest.fixture
async def webhooks() -> FakeWebhookService:
    """What answers the gateway."""
    return FakeWebhookService()


@pytest.fixture
async def http(webhooks: FakeWebhookService) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with an operator and the tenant `default`."""
    async with (
        serving(FakeJobService()) as address,
        serving_webhooks(webhooks) as notifier_address,
        assembled(address, notifier=notifier_address, authenticator=Authenticator(KEYS, free_use=free_use())) as (
            app,
            _,
        ),
        in_process(app) as opened,
    ):
        yield opened


async def test_an_operator_lists_endpoints_and_deliveries_of_a_tenant(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    webhook = webhooks.add()
    states = (notifier.DELIVERY_STATE_FAILED, notifier.DELIVERY_STATE_DELIVERED)
    failed, _ = (webhooks.deliver(webhook_id=webhook.id, state=state) for state in states)
    path = "/v1/admin/tenants/default/webhooks"
    endpoints = (await http.get(path, headers=OPERATOR)).json()["webhooks"]
    listed = await http.get(f"{path}/{webhook.id}/deliveries", params={"state": "failed"}, headers=OPERATOR)
    others = await http.get("/v1/admin/tenants/acme/webhooks", headers=OPERATOR)

    assert [(endpoint["id"], endpoint["health"]["state"]) for endpoint in endpoints] == [(webhook.id, "healthy")]
    assert [delivery["id"] for delivery in listed.json()["deliveries"]] == [failed.id]
    assert others.json() == {"webhooks": [], "next_page_token": None}


async def test_an_operator_sees_unhealthy_endpoints_of_all_tenants(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    webhooks.add()
    gone = notifier.WebhookHealth(
        state=notifier.WEBHOOK_STATE_DISABLED, disabled_reason=notifier.DISABLED_REASON_GONE, last_status=410
    )
    webhook = webhooks.add(tenant="acme", health=gone)
    webhook.enabled = False
    listed = (await http.get("/v1/admin/webhooks", headers=OPERATOR)).json()

    [found] = listed["webhooks"]
    assert (found["tenant"], found["id"], found["health"]["disabled_reason"]) == ("acme", webhook.id, "gone")
    assert listed["has_more"] is False


async def test_an_operator_sends_a_delivery_of_a_tenant_again(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    delivery = webhooks.deliver(webhook_id=webhooks.add().id, state=notifier.DELIVERY_STATE_FAILED)
    path = f"/v1/admin/tenants/{{}}/deliveries/{delivery.id}:redeliver"
    other = await http.post(path.format("acme"), headers=OPERATOR)
    sent = await http.post(path.format("default"), headers=OPERATOR)
    again = await http.post(path.format("default"), headers=OPERATOR)

    assert [answer.status_code for answer in (other, sent, again)] == [404, 202, 409]
    assert sent.json()["state"] == "pending"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "webhooks"), ("GET", "webhooks/wh_1/deliveries"), ("POST", "deliveries/msg_1:redeliver")],
)
async def test_tenants_do_not(http: httpx.AsyncClient, method: str, path: str) -> None:
    refused = await http.request(method, f"/v1/admin/tenants/default/{path}", headers=TENANT)
    assert (refused.status_code, refused.json()["reason"]) == (403, "PERMISSION_DENIED")
