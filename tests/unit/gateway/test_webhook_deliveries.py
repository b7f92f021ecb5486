"""Deliveries over HTTP: lists, attempts, tests, and sending again."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from calotype.notifier.v1 import webhook_service_pb2 as notifier

from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks

NOON = "2026-01-31T12:00:00.250000Z"
MIDNIGHT = "2026-01-31T00:00:00Z"


@pytest.fixture
async def webhooks() -> FakeWebhookService:
    """What answers the gateway."""
    return FakeWebhookService()


@pytest.fixture
async def http(webhooks: FakeWebhookService) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway."""
    async with (
        serving(FakeJobService()) as address,
        serving_webhooks(webhooks) as notifier_address,
        assembled(address, notifier=notifier_address) as (app, _),
        in_process(app) as opened,
    ):
        yield opened


async def test_a_delivery_has_its_attempts(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()
    delivery = webhooks.deliver(webhook_id=webhook.id, attempts=2)
    attempts = [
        {
            "number": number,
            "started_at": NOON,
            "duration_ms": 20,
            "status": 500,
            "error": "status",
            "message": "The receiver returned status 500.",
            "response": "no",
            "is_probe": False,
        }
        for number in (1, 2)
    ]
    listed = {
        "id": delivery.id,
        "webhook_id": webhook.id,
        "url": "https://shop.example/hook",
        "event_type": "job.completed",
        "job_id": "job_1",
        "sequence": 5,
        "state": "pending",
        "attempt_count": 2,
        "occurred_at": NOON,
        "created_at": NOON,
        "next_attempt_at": None,
        "delivered_at": None,
        "last_attempt": attempts[-1],
    }
    path = f"/v1/webhooks/{webhook.id}/deliveries"

    assert (await http.get(path)).json() == {"deliveries": [listed], "next_page_token": None}
    assert (await http.get(f"{path}/{delivery.id}")).json() == listed | {"attempts": attempts}


async def test_deliveries_are_filtered(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()
    states = (notifier.DELIVERY_STATE_FAILED, notifier.DELIVERY_STATE_HELD, notifier.DELIVERY_STATE_DELIVERED)
    held = [
        webhooks.deliver(webhook_id=webhook.id, state=state, event_type=event_type).id
        for event_type in ("job.completed", "job.failed")
        for state in states
    ]

    async def ids(**query: Any) -> list[str]:
        page = await http.get(f"/v1/webhooks/{webhook.id}/deliveries", params=query)
        return [delivery["id"] for delivery in page.json()["deliveries"]]

    assert await ids() == held[::-1]
    assert await ids(state="held") == [held[4], held[1]]
    assert await ids(state="held", event_type="job.failed") == [held[4]]
    webhooks.next_page_token = "next"
    answer = await http.get(f"/v1/webhooks/{webhook.id}/deliveries", params={"page_size": 7})
    assert answer.json()["next_page_token"] == "next"
    assert webhooks.last(notifier.ListDeliveriesRequest).page_size == 7


@pytest.mark.parametrize("query", ["state=waiting", "event_type=job.created", "page_size=0", "job_id=job_1"])
async def test_a_filter_that_cannot_be_is_named(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, query: str
) -> None:
    answer = await http.get(f"/v1/webhooks/{webhooks.add().id}/deliveries?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


async def test_callback_urls_are_listed_under_an_id_of_their_own(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    webhook = webhooks.add()
    of_endpoint, of_callback = webhooks.deliver(webhook_id=webhook.id), webhooks.deliver()
    listed = (await http.get("/v1/webhooks/callbacks/deliveries")).json()["deliveries"]

    assert [(delivery["id"], delivery["webhook_id"]) for delivery in listed] == [(of_callback.id, None)]
    found = await http.get(f"/v1/webhooks/callbacks/deliveries/{of_callback.id}")
    assert (found.status_code, found.json()["webhook_id"]) == (200, None)
    for path in (f"callbacks/deliveries/{of_endpoint.id}", f"{webhook.id}/deliveries/{of_callback.id}"):
        assert (await http.get(f"/v1/webhooks/{path}")).status_code == 404
    for call in ("callbacks", "callbacks/test"):
        assert (await http.request("POST" if "/" in call else "GET", f"/v1/webhooks/{call}")).status_code == 404


async def test_a_delivery_is_sent_again_unless_it_is_pending(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    delivery = webhooks.deliver(state=notifier.DELIVERY_STATE_FAILED)
    path = f"/v1/webhooks/deliveries/{delivery.id}/redeliver"
    first = await http.post(path, headers={"Idempotency-Key": "k"})
    again = await http.post(path, headers={"Idempotency-Key": "k"})

    assert (first.status_code, first.json()["state"], first.json()["next_attempt_at"]) == (202, "pending", NOON)
    assert (again.status_code, again.json()["reason"], again.json()["job"]) == (409, "WRONG_STATE", None)


async def test_a_range_is_sent_again(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()
    for state in (notifier.DELIVERY_STATE_HELD, notifier.DELIVERY_STATE_FAILED, notifier.DELIVERY_STATE_DELIVERED):
        webhooks.deliver(webhook_id=webhook.id, state=state)
    path = f"/v1/webhooks/{webhook.id}/redeliver"
    first = await http.post(path, json={"after": "2026-01-31T01:00:00+01:00", "before": "2026-02-01T00:00:00.5Z"})
    again = await http.post(path, json={"after": MIDNIGHT})
    bounded, open_ended = (one for one in webhooks.asked if isinstance(one, notifier.RedeliverRangeRequest))

    assert (first.status_code, first.json(), again.json()) == (202, {"count": 2}, {"count": 0})
    assert bounded.after.ToJsonString() == MIDNIGHT
    assert bounded.before.ToJsonString() == "2026-02-01T00:00:00.500Z"
    assert not open_ended.HasField("before")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "after"),
        ({"after": None}, "after"),
        ({"after": 1}, "after"),
        ({"after": "2026-01-31"}, "after"),
        ({"after": "2026-13-31T00:00:00Z"}, "after"),
        ({"after": "0001-01-01T00:00:00+14:00"}, "after"),
        ({"after": MIDNIGHT, "before": "now"}, "before"),
        ({"after": MIDNIGHT, "state": "held"}, "state"),
    ],
)
async def test_a_range_that_cannot_be_is_named(
    http: httpx.AsyncClient, webhooks: FakeWebhookService, body: dict[str, Any], field: str
) -> None:
    answer = await http.post(f"/v1/webhooks/{webhooks.add().id}/redeliver", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert webhooks.asked == []


async def test_a_test_returns_what_the_receiver_did(http: httpx.AsyncClient, webhooks: FakeWebhookService) -> None:
    path = f"/v1/webhooks/{webhooks.add().id}/test"
    accepted = await http.post(path)
    webhooks.attempt = notifier.DeliveryAttempt(
        number=1, duration_ms=20_000, error=notifier.ATTEMPT_ERROR_TIMEOUT_HEADERS, message="Nothing arrived."
    )
    failed = await http.post(path)

    assert (accepted.status_code, accepted.json()["attempt"]["status"], accepted.json()["attempt"]["error"]) == (
        200,
        204,
        None,
    )
    assert accepted.json()["delivery_id"].startswith("msg_")
    assert (failed.status_code, failed.json()["attempt"]["error"]) == (200, "timeout_headers")
    assert (failed.json()["attempt"]["status"], failed.json()["attempt"]["message"]) == (None, "Nothing arrived.")


async def test_words_of_a_newer_notifier_do_not_read_as_success(
    http: httpx.AsyncClient, webhooks: FakeWebhookService
) -> None:
    webhooks.attempt = notifier.DeliveryAttempt(number=1, error=99)  # type: ignore[arg-type]
    path = f"/v1/webhooks/{webhooks.add(event_types=['job.archived']).id}"

    assert (await http.post(f"{path}/test")).json()["attempt"]["error"] == "unknown"
    assert (await http.get(path)).json()["event_types"] == ["job.archived"]


@pytest.mark.parametrize(
    "path", ["wh_1/test", "wh_1/redeliver", "wh_1/rotate-secret", "deliveries/msg_1/redeliver", ""]
)
async def test_every_post_checks_its_key(http: httpx.AsyncClient, webhooks: FakeWebhookService, path: str) -> None:
    answer = await http.post(f"/v1/webhooks/{path}".rstrip("/"), headers={"Idempotency-Key": "a b"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert webhooks.asked == []
