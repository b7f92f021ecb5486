"""What a tenant's receivers get of its jobs, from the whole stack."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype.notifier.v1 import webhook_service_pb2 as pb
from calotype.notifier.v1 import webhook_service_pb2_grpc
from standardwebhooks import Webhook

from cli.stack.state import StackState
from common.grpc_client import ClientSettings, call, channel
from tests.support.notifier.processes import Received, receiver
from tests.support.patience import PATIENCE
from tests.support.stacks.stack_clients import Client, tables_that_hold

TENANT = "default"


@pytest.fixture
async def webhooks(stack: StackState) -> AsyncIterator[Any]:
    """WebhookService, as the stack's user has it."""
    settings = ClientSettings(grpc_token=stack.grpc_token)
    async with channel(stack.grpc["notifier"], settings=settings) as opened:
        yield webhook_service_pb2_grpc.WebhookServiceStub(opened)


def verified(received: Received, secret: str) -> Any:
    """The event of a request. Raises for a signature that is not that of the secret."""
    return Webhook(secret).verify(received.body, dict(received.headers))


async def test_a_webhook_and_a_callback_url_get_the_job_as_the_api_shows_it(
    client: Client, stack: StackState, webhooks: Any
) -> None:
    async with receiver() as endpoint, receiver() as callback:
        request = pb.CreateWebhookRequest(tenant=TENANT, url=endpoint.url, event_types=["job.completed"])
        created = await call(webhooks.CreateWebhook, request, timeout=PATIENCE)
        prompt = "a lighthouse that no other test asks for"
        submitted = await asyncio.to_thread(client.submit, prompt, size="64x64", callback_url=callback.url)
        by_webhook, by_callback = await endpoint.next(), await callback.next()
        request = pb.GetSigningSecretRequest(tenant=TENANT)
        signing = await call(webhooks.GetSigningSecret, request, timeout=PATIENCE)
        events = [verified(by_webhook, created.secret), verified(by_callback, signing.secret)]
        shown = await asyncio.to_thread(client.get, submitted["id"])
        request = pb.DeleteWebhookRequest(tenant=TENANT, webhook_id=created.webhook.id)
        await call(webhooks.DeleteWebhook, request, timeout=PATIENCE)

    assert [event["type"] for event in events] == ["job.completed", "job.completed"]
    assert [event["data"] for event in events] == [shown, shown]
    assert shown["status"] == "completed"
    assert by_webhook.headers["webhook-id"] != by_callback.headers["webhook-id"]
    # The notifier stores which job it was, and nothing of what its user wrote.
    assert "webhook_deliveries" in tables_that_hold(stack.notifier_database_url, submitted["id"])
    assert tables_that_hold(stack.notifier_database_url, prompt) == []
    assert json.loads(by_webhook.body)["timestamp"].endswith("Z")
