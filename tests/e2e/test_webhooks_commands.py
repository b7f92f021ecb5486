"""A tenant's life with webhooks, by its commands: each goes over the gateway to the notifier, and to a receiver."""

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from cli.stack.state import StackState
from tests.support.notifier.processes import Received, Receiver, receiver
from tests.support.patience import PATIENCE
from tests.support.stacks.stack_clients import Client

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(stack: StackState, server_folder: Path) -> Path:
    """The running stack's data, by which commands find it."""
    return server_folder / "stack"


async def run(folder: Path, *arguments: str) -> Any:
    """What `calotype webhooks` prints as JSON. Raises for an exit code other than 0."""
    command = [sys.executable, "-P", "-m", "cli", "webhooks", *arguments, "--data", str(folder)]
    work = partial(subprocess.run, command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=PATIENCE)
    printed = (await asyncio.to_thread(work)).stdout
    return json.loads(printed) if "--json" in arguments else printed.decode()


def verified(received: Received, secret: str) -> Any:
    """The event of a request. Raises for a signature that is not that of the secret."""
    return Webhook(secret).verify(received.body, dict(received.headers))


async def next_of(receiver: Receiver, event_type: str) -> Received:
    """The next request with an event of a type."""
    while json.loads((received := await receiver.next()).body)["type"] != event_type:
        pass
    return received


async def test_add_test_deliver_redeliver_and_rotate(client: Client, folder: Path) -> None:
    async with receiver() as endpoint:
        created = await run(folder, "add", endpoint.url, "--event", "job.completed", "--json")
        tested = await run(folder, "test", created["id"], "--json")
        test = await next_of(endpoint, "webhook.test")
        submitted = await asyncio.to_thread(client.submit, "known by a command", size="64x64")
        delivered = await next_of(endpoint, "job.completed")
        [listed] = (await run(folder, "deliveries", created["id"], "--event", "job.completed", "--json"))["deliveries"]
        rotated = await run(folder, "rotate", created["id"], "--grace-seconds", "600", "--json")
        await run(folder, "redeliver", listed["id"], "--json")
        again = await next_of(endpoint, "job.completed")
        await run(folder, "remove", created["id"])
        left = (await run(folder, "list", "--json"))["webhooks"]

    assert verified(test, created["secret"])["data"]["webhook_id"] == created["id"]
    assert (tested["attempt"]["status"], tested["attempt"]["error"]) == (204, None)
    assert verified(delivered, created["secret"])["data"]["id"] == submitted["id"] == listed["job_id"]
    assert listed["id"] == delivered.headers["webhook-id"] == again.headers["webhook-id"]
    # Both secrets sign, and no other.
    for secret in (created["secret"], rotated["secret"]):
        assert verified(again, secret)["data"]["id"] == submitted["id"]
    with pytest.raises(WebhookVerificationError):
        verified(delivered, rotated["secret"])
    assert created["id"] not in [webhook["id"] for webhook in left]


async def test_a_request_that_somebody_changed_or_sends_again_is_not_accepted(client: Client, folder: Path) -> None:
    async with receiver() as endpoint:
        created = await run(folder, "add", endpoint.url, "--json")
        await run(folder, "test", created["id"], "--json")
        received = await next_of(endpoint, "webhook.test")
        await run(folder, "remove", created["id"])

    secret, headers = Webhook(created["secret"]), dict(received.headers)
    assert secret.verify(received.body, headers)
    hour_ago = str(int(headers["webhook-timestamp"]) - 3_600)
    for changed in (
        (received.body.replace(b"test", b"best", 1), headers),
        (received.body, headers | {"webhook-id": "msg_other"}),
        (received.body, headers | {"webhook-timestamp": hour_ago}),
    ):
        with pytest.raises(WebhookVerificationError):
            secret.verify(*changed)


async def test_a_range_of_what_a_disabled_webhook_missed_is_delivered_once_it_is_enabled(
    client: Client, folder: Path
) -> None:
    async with receiver() as endpoint:
        created = await run(folder, "add", endpoint.url, "--event", "job.completed", "--json")
        await run(folder, "disable", created["id"], "--json")
        submitted = await asyncio.to_thread(client.submit, "while it is disabled", size="64x64")
        await asyncio.to_thread(client.follow, submitted["id"])
        async with asyncio.timeout(PATIENCE):
            while not (await run(folder, "deliveries", created["id"], "--state", "held", "--json"))["deliveries"]:
                pass
        assert endpoint.received.empty()
        await run(folder, "enable", created["id"], "--json")
        sent = await run(folder, "redeliver", "--endpoint", created["id"], "--after", created["created_at"], "--json")
        received = await next_of(endpoint, "job.completed")
        await run(folder, "remove", created["id"])

    assert sent == {"count": 1}
    assert verified(received, created["secret"])["data"]["id"] == submitted["id"]
