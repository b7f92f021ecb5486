"""`calotype webhooks` against the real gateway, whose notifier is the in-memory stand-in."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from calotype.notifier.v1 import webhook_service_pb2 as notifier
from click.testing import CliRunner, Result

from cli.__main__ import main
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, refusal, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks

URL = "https://shop.example/hook"
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def webhooks() -> FakeWebhookService:
    """What answers the gateway."""
    return FakeWebhookService()


@pytest.fixture
async def calotype(webhooks: FakeWebhookService) -> AsyncIterator[Run]:
    """Runs a command against the gateway, beside the loop that serves it."""
    async with (
        serving(FakeJobService()) as address,
        serving_webhooks(webhooks) as notifier_address,
        assembled(address, notifier=notifier_address) as (app, parts),
        over_http(app, parts) as client,
    ):

        async def run(*arguments: str) -> Result:
            command = ["webhooks", *arguments, "--url", str(client.base_url)]
            return await asyncio.to_thread(CliRunner().invoke, main, command)

        yield run


def held(webhooks: FakeWebhookService, webhook: notifier.Webhook, **fields: Any) -> notifier.Delivery:
    """A delivery that was held."""
    return webhooks.deliver(webhook_id=webhook.id, state=notifier.DELIVERY_STATE_HELD, **fields)


async def test_add_prints_id_and_secret_and_says_that_it_is_shown_once(
    calotype: Run, webhooks: FakeWebhookService
) -> None:
    added = await calotype("add", URL, "--event", "job.failed", "--event", "job.completed", "--description", "orders")
    [webhook] = webhooks.webhooks.values()

    assert (added.exit_code, added.stdout) == (0, f"{webhook.id}\nwhsec_Y3JlYXRlZA==\n")
    assert "No later command shows the secret" in added.stderr
    assert (webhook.url, webhook.description) == (URL, "orders")
    assert [*webhook.event_types] == ["job.failed", "job.completed"]
    as_json = json.loads((await calotype("add", URL, "--scheme", "v1a", "--json")).stdout)
    assert (as_json["secret"], as_json["event_types"]) == (None, [])
    assert (await calotype("add", URL, "--scheme", "v1a")).stdout.splitlines()[1:] == ["whpk_Y3JlYXRlZA=="]
    # Each command creates another webhook; a repeated request of one command does not.
    assert len({one.idempotency_key for one in webhooks.asked}) == 3


async def test_list_and_show(calotype: Run, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add(description="a \x1b[2J note")
    webhooks.add(url="https://b.example/hook", event_types=["job.failed", "job.completed"])
    webhooks.next_page_token = "next"
    listed = await calotype("list", "--page-size", "7")

    rows = [re.split(r"  +", line) for line in listed.stdout.splitlines()]
    assert rows[0] == ["webhook", "state", "events", "url"]
    assert [row[1:] for row in rows[1:]] == [
        ["healthy", "all", URL],
        ["healthy", "2 types", "https://b.example/hook"],
    ]
    assert (listed.exit_code, listed.stderr) == (0, "more: --page-token next\n")
    assert webhooks.last(notifier.ListWebhooksRequest).page_size == 7
    assert len(json.loads((await calotype("list", "--json")).stdout)["webhooks"]) == 2

    shown = (await calotype("show", webhook.id)).stdout
    assert shown.splitlines() == [
        f"webhook      {webhook.id}",
        f"url          {URL}",
        "description  a  [2J note",
        "events       all",
        "state        healthy",
    ]
    assert json.loads((await calotype("show", webhook.id, "--json")).stdout)["id"] == webhook.id


async def test_show_tells_how_a_failing_webhook_fares(calotype: Run, webhooks: FakeWebhookService) -> None:
    health = notifier.WebhookHealth(
        state=notifier.WEBHOOK_STATE_DEGRADED, last_error=notifier.ATTEMPT_ERROR_STATUS, last_status=500
    )
    for field in ("failing_since", "will_disable_at", "next_attempt_at"):
        getattr(health, field).FromSeconds(1_700_000_000)
    shown = (await calotype("show", webhooks.add(health=health).id)).stdout

    rows = dict(re.split(r"  +", line, maxsplit=1) for line in shown.splitlines())
    assert (rows["state"], rows["last failure"]) == ("degraded", "status 500")
    assert all(rows[name].startswith("2023-11-1") for name in ("failing since", "next attempt", "will be disabled"))


async def test_disable_enable_and_remove(calotype: Run, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()

    disabled = await calotype("disable", webhook.id)
    assert disabled.stdout.splitlines()[-1].split() == ["disabled", "by", "tenant"]
    assert not webhook.enabled
    assert json.loads((await calotype("enable", webhook.id, "--json")).stdout)["enabled"] is True
    removed = await calotype("remove", webhook.id)
    assert (removed.exit_code, removed.stdout, webhooks.webhooks) == (0, f"{webhook.id}: Deleted.\n", {})


async def test_a_test_fails_unless_the_event_is_accepted(calotype: Run, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()
    accepted = await calotype("test", webhook.id)
    webhooks.attempt = notifier.DeliveryAttempt(number=1, error=notifier.ATTEMPT_ERROR_TLS, message="It has expired.")
    failed, as_json = await calotype("test", webhook.id), await calotype("test", webhook.id, "--json")

    assert (accepted.exit_code, failed.exit_code, as_json.exit_code) == (0, 1, 1)
    assert re.fullmatch(r"msg_\w{32}: accepted with status 204 in 35 ms\n", accepted.stdout)
    assert failed.stdout.endswith(": tls: It has expired.\n")
    assert json.loads(as_json.stdout)["attempt"]["error"] == "tls"


async def test_deliveries_are_listed_with_their_last_attempt(calotype: Run, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()
    waiting = webhooks.deliver(webhook_id=webhook.id)
    failed = webhooks.deliver(webhook_id=webhook.id, attempts=3, state=notifier.DELIVERY_STATE_FAILED)
    callback = webhooks.deliver(event_type="job.failed")
    rows = [re.split(r"  +", line) for line in (await calotype("deliveries", webhook.id)).stdout.splitlines()]

    assert rows[0] == ["delivery", "event", "state", "created", "last attempt"]
    assert [(row[0], row[1], row[2]) for row in rows[1:]] == [
        (failed.id, "job.completed", "failed"),
        (waiting.id, "job.completed", "pending"),
    ]
    assert rows[1][4:] == ["status: The receiver returned status 500."]
    only_failed = await calotype("deliveries", webhook.id, "--state", "failed", "--event", "job.completed", "--json")
    assert [one["id"] for one in json.loads(only_failed.stdout)["deliveries"]] == [failed.id]
    assert callback.id in (await calotype("deliveries", "callbacks")).stdout


async def test_a_delivery_or_a_range_is_sent_again(calotype: Run, webhooks: FakeWebhookService) -> None:
    webhook = webhooks.add()
    first = held(webhooks, webhook)
    held(webhooks, webhook)
    one = await calotype("redeliver", first.id)
    several = await calotype(
        "redeliver", "--endpoint", webhook.id, "--after", "2026-01-31T01:00:00+01:00", "--before", "2026-02-01"
    )
    asked = webhooks.last(notifier.RedeliverRangeRequest)

    assert (one.exit_code, one.stdout) == (0, f"{first.id}: pending.\n")
    assert (several.exit_code, several.stdout) == (0, "1 delivery is sent again.\n")
    assert (asked.after.ToJsonString(), asked.HasField("before")) == ("2026-01-31T00:00:00Z", True)
    again = await calotype("redeliver", "--endpoint", webhook.id, "--after", "2026-01-31", "--json")
    assert json.loads(again.stdout) == {"count": 0}
    refused = await calotype("redeliver", first.id)
    assert (refused.exit_code, refused.stderr) == (4, "calotype: Refused: WRONG_STATE: The delivery is pending.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--endpoint", "wh_1"),
        ("--after", "2026-01-31"),
        ("msg_1", "--endpoint", "wh_1", "--after", "2026-01-31"),
        ("--endpoint", "wh_1", "--after", "yesterday"),
        ("--endpoint", "wh_1", "--after", "0001-01-01T00:00:00+14:00"),
    ],
)
async def test_what_is_to_be_sent_again_must_be_clear(
    calotype: Run, webhooks: FakeWebhookService, arguments: tuple[str, ...]
) -> None:
    unclear = await calotype("redeliver", *arguments)

    assert (unclear.exit_code, unclear.stderr.count("\n"), webhooks.asked) == (2, 1, [])


async def test_secrets_are_rotated_and_the_one_of_callback_urls_is_shown(
    calotype: Run, webhooks: FakeWebhookService
) -> None:
    rotated = await calotype("rotate", webhooks.add().id, "--grace-seconds", "60")
    assert (rotated.exit_code, rotated.stdout) == (0, "whsec_cm90YXRlZA==\n")
    assert "The old one signs, too, until 2026-01-31 " in rotated.stderr
    assert (await calotype("signing-secret")).stdout == "whsec_c2lnbmluZw==\n"
    of_callbacks = json.loads((await calotype("rotate", "signing-secret", "--json")).stdout)
    assert (of_callbacks["secret"], webhooks.last(notifier.RotateSecretRequest).webhook_id) == (
        "whsec_cm90YXRlZA==",
        "",
    )
    ed25519 = webhooks.add(signature_scheme=notifier.SIGNATURE_SCHEME_V1A)
    assert (await calotype("rotate", ed25519.id)).stdout == "whpk_cm90YXRlZA==\n"


@pytest.mark.parametrize("arguments", [("show", "wh_1"), ("enable", "wh_1"), ("test", "a/b?c"), ("rotate", "wh_1")])
async def test_an_unknown_webhook_is_refused_with_one_line(calotype: Run, arguments: tuple[str, ...]) -> None:
    refused = await calotype(*arguments)

    assert (refused.exit_code, refused.stderr.count("\n")) == (4, 1)
    assert refused.stderr.startswith("calotype: Refused: NOT_FOUND: There is no ")


async def test_a_field_that_is_refused_is_named(calotype: Run) -> None:
    refused = await calotype("add", "ftp://shop.example")

    assert refused.exit_code == 4
    assert refused.stderr == "calotype: Refused: INVALID_INPUT: url: Must be an http or https address.\n"


async def test_while_the_notifier_is_away_the_gateway_says_so(calotype: Run, webhooks: FakeWebhookService) -> None:
    webhooks.refusals["ListWebhooks"] = [refusal(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE") for _ in range(2)]
    away = await calotype("list")

    assert away.exit_code == 4
    assert away.stderr == (
        "calotype: Refused: SERVICE_UNAVAILABLE: The notifier cannot be reached right now. Try again.\n"
    )


def test_without_a_gateway_it_is_not_reachable() -> None:
    away = CliRunner().invoke(main, ["webhooks", "list", "--url", "http://127.0.0.1:1"])

    assert away.exit_code == 3
