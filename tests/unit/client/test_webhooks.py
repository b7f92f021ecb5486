"""Webhooks through both clients, against a notifier in this process that is reached by real gRPC."""

import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from calotype.client import AsyncJobClient, JobClient, JobNotFound, NotFound, Unavailable, WrongState, call_policy
from calotype.client.webhook_requests import TEST_SECONDS
from calotype.notifier.v1 import webhook_service_pb2 as notifier

from tests.support.clients.python_clients import KINDS, client
from tests.support.job_service.fake_job_service import FakeJobService, refusal, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks

URL = "https://shop.example/hook"
AWAY = refusal(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")


@pytest.fixture
async def service() -> FakeWebhookService:
    """What answers the clients."""
    return FakeWebhookService()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest.fixture
async def jobs(service: FakeWebhookService, kind: str) -> AsyncIterator[Any]:
    """The client, as a coroutine asks it; job-service is another server."""
    async with (
        serving(FakeJobService()) as address,
        serving_webhooks(service) as notifier_address,
        client(kind, address, notifier_address=notifier_address) as opened,
    ):
        yield opened


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type[Any]) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters) for name, one in found if name[0] != "_"}

    assert methods(JobClient) == methods(AsyncJobClient)
    assert "redeliver_range" in methods(JobClient)


async def test_an_endpoint_is_created_read_changed_and_deleted(jobs: Any, service: FakeWebhookService) -> None:
    created = await jobs.create_webhook(URL, description="orders", event_types=["job.failed"])
    webhook_id = created.webhook.id
    assert (created.secret, created.webhook.tenant) == ("whsec_Y3JlYXRlZA==", "acme")
    assert (await jobs.webhook(webhook_id)).url == URL
    assert [webhook.id async for webhook in jobs.webhooks()] == [webhook_id]

    changed = await jobs.update_webhook(webhook_id, event_types=[], enabled=False)
    assert (changed.url, changed.description, [*changed.event_types], changed.enabled) == (URL, "orders", [], False)
    assert (await jobs.update_webhook(webhook_id, url="https://b.example", description="")).description == ""
    # What is not named is not sent.
    assert not service.last(notifier.UpdateWebhookRequest).HasField("event_types")

    await jobs.delete_webhook(webhook_id)
    await jobs.delete_webhook(webhook_id)
    with pytest.raises(NotFound, match="There is no such webhook"):
        await jobs.webhook(webhook_id)


async def test_a_key_of_ones_own_creates_one_endpoint_and_rotates_once(jobs: Any, service: FakeWebhookService) -> None:
    first, again = [await jobs.create_webhook(URL, idempotency_key="k") for _ in range(2)]
    await jobs.create_webhook(URL)
    assert (first.webhook.id, first.replayed, again.replayed) == (again.webhook.id, False, True)
    assert len(service.webhooks) == 2

    rotated = [
        await jobs.rotate_webhook_secret(first.webhook.id, grace_seconds=0, idempotency_key="k") for _ in range(2)
    ]
    assert [one.replayed for one in rotated] == [False, True]
    assert (await jobs.rotate_webhook_secret(first.webhook.id)).secret == "whsec_cm90YXRlZA=="
    assert not service.last(notifier.RotateSecretRequest).HasField("grace_seconds")


async def test_an_ed25519_endpoint_has_public_keys_alone(jobs: Any) -> None:
    created = await jobs.create_webhook(URL, signature_scheme=notifier.SIGNATURE_SCHEME_V1A)
    rotated = await jobs.rotate_webhook_secret(created.webhook.id)

    assert (created.secret, [*created.webhook.public_keys]) == ("", ["whpk_Y3JlYXRlZA=="])
    assert (rotated.secret, rotated.public_key) == ("", "whpk_cm90YXRlZA==")


async def test_the_signing_secret_is_read_and_rotated(jobs: Any, service: FakeWebhookService) -> None:
    assert (await jobs.signing_secret()).secret == "whsec_c2lnbmluZw=="
    assert (await jobs.rotate_signing_secret(grace_seconds=60)).secret == "whsec_cm90YXRlZA=="
    asked = service.last(notifier.RotateSecretRequest)
    assert (asked.webhook_id, asked.grace_seconds) == ("", 60)


async def test_deliveries_are_read_filtered_and_sent_again(jobs: Any, service: FakeWebhookService) -> None:
    webhook = service.add(tenant="acme")
    held = service.deliver(tenant="acme", webhook_id=webhook.id, state=notifier.DELIVERY_STATE_HELD)
    failed = service.deliver(tenant="acme", webhook_id=webhook.id, state=notifier.DELIVERY_STATE_FAILED, attempts=2)
    callback = service.deliver(tenant="acme", event_type="job.failed")

    assert [one.id async for one in jobs.deliveries(webhook.id)] == [failed.id, held.id]
    only_held = jobs.deliveries(webhook.id, state=notifier.DELIVERY_STATE_HELD)
    assert [one.id async for one in only_held] == [held.id]
    assert [one.id async for one in jobs.deliveries(event_type="job.failed")] == [callback.id]
    assert [one.number for one in (await jobs.delivery(failed.id)).attempts] == [1, 2]

    assert (await jobs.redeliver(failed.id)).state == notifier.DELIVERY_STATE_PENDING
    with pytest.raises(WrongState):
        await jobs.redeliver(failed.id)
    assert await jobs.redeliver_range(webhook.id, after=datetime(2026, 1, 1, tzinfo=UTC)) == 1
    with pytest.raises(ValueError, match="before: a time needs a time zone"):
        await jobs.redeliver_range(webhook.id, after=datetime.now(UTC), before=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_lists_go_on_over_their_pages(jobs: Any, service: FakeWebhookService) -> None:
    webhook = service.add(tenant="acme")
    delivery = service.deliver(tenant="acme", webhook_id=webhook.id)
    service.next_page_token = "next"

    # The stand-in has one entry, on each of its two pages.
    assert [one.id async for one in jobs.webhooks()] == [webhook.id] * 2
    assert [one.id async for one in jobs.deliveries(webhook.id)] == [delivery.id] * 2
    assert [one.page_token for one in service.asked] == ["", "next"] * 2


async def test_a_test_has_the_time_that_a_receiver_has_and_is_sent_once(jobs: Any, service: FakeWebhookService) -> None:
    webhook = service.add(tenant="acme")
    assert (await jobs.test_webhook(webhook.id)).attempt.status == 204
    assert call_policy.CALL_SECONDS < 20 < service.time_left[-1] <= TEST_SECONDS + 1
    for method, ask in (("TestWebhook", jobs.test_webhook), ("Redeliver", jobs.redeliver)):
        service.refusals[method] = [AWAY]
        with pytest.raises(Unavailable):
            await ask(webhook.id)


async def test_what_may_come_twice_is_asked_again(jobs: Any, service: FakeWebhookService) -> None:
    service.refusals["CreateWebhook"] = [AWAY]
    await jobs.create_webhook(URL)
    keys = [request.idempotency_key for request in service.asked]

    assert (len(keys), len(set(keys)), len(service.webhooks)) == (2, 1, 1)


async def test_another_tenants_webhook_is_not_found(jobs: Any, service: FakeWebhookService) -> None:
    with pytest.raises(NotFound) as error:
        await jobs.update_webhook(service.add(tenant="other").id, enabled=False)
    assert (error.value.reason, isinstance(error.value, JobNotFound)) == ("NOT_FOUND", False)


async def test_without_an_address_the_error_names_the_parameter(kind: str) -> None:
    async with serving(FakeJobService()) as address, client(kind, address) as jobs:
        with pytest.raises(ValueError, match="notifier_address"):
            await jobs.create_webhook(URL)


async def test_channels_of_ones_own_stay_open(service: FakeWebhookService) -> None:
    webhook = service.add(tenant="acme")
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving_webhooks(service))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        for _ in range(2):
            async with AsyncJobClient("127.0.0.1:1", tenant="acme", notifier_address=channel) as jobs:
                assert (await jobs.webhook(webhook.id)).id == webhook.id
