"""`calotype webhooks`: manage the URLs that events are posted to, and their secrets."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

import click

from cli.api import webhook_deliveries, webhook_secrets
from cli.api.client import ConnectionOptions, connection_options
from cli.api.webhook_calls import WebhookCalls
from cli.api.webhook_deliveries import describe_attempt
from cli.api.webhook_options import EVENT_TYPES, json_option, page_options
from cli.api.webhook_secrets import print_secret
from cli.errors import ExitCode
from cli.table import local_time, print_table


@click.group()
def webhooks() -> None:
    """Have events posted to a URL, and see what was sent."""


for _command in (
    webhook_deliveries.deliveries,
    webhook_deliveries.redeliver,
    webhook_secrets.rotate,
    webhook_secrets.signing_secret,
):
    webhooks.add_command(_command)


@webhooks.command("list")
@page_options
@json_option
@connection_options()
def list_webhooks(page_size: int, page_token: str | None, as_json: bool, connection: ConnectionOptions) -> int:
    """List webhooks with their state, oldest first."""
    with connection.open() as api:
        page = WebhookCalls(api).page(page_size=page_size, page_token=page_token)
    if as_json:
        click.echo(json.dumps(page))
        return ExitCode.DONE
    rows = [
        (webhook["id"], webhook["health"]["state"], _count(webhook["event_types"]), webhook["url"])
        for webhook in page["webhooks"]
    ]
    print_table(("webhook", "state", "events", "url"), rows)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@webhooks.command()
@click.argument("receiver", metavar="URL")
@click.option("--event", "events", multiple=True, type=click.Choice(EVENT_TYPES), help="May be repeated. Default: all.")
@click.option("--description", help="A note of yours.")
@click.option(
    "--scheme",
    type=click.Choice(["v1", "v1a"]),
    default="v1",
    show_default=True,
    help="v1 signs with a shared secret, v1a with an Ed25519 key whose public half the receiver has.",
)
@json_option
@connection_options()
def add(
    receiver: str,
    events: tuple[str, ...],
    description: str | None,
    scheme: str,
    as_json: bool,
    connection: ConnectionOptions,
) -> int:
    """Have events posted to URL; print id and secret."""
    body = {"url": receiver, "event_types": list(events), "description": description, "signature_scheme": scheme}
    with connection.open() as api:
        webhook = WebhookCalls(api).create(body, idempotency_key=uuid.uuid4().hex)
    if as_json:
        click.echo(json.dumps(webhook, indent=2))
        return ExitCode.DONE
    click.echo(webhook["id"])
    print_secret(webhook["secret"], webhook["public_keys"])
    return ExitCode.DONE


@webhooks.command()
@click.argument("webhook_id")
@json_option
@connection_options()
def show(webhook_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Show a webhook and how deliveries to it fare."""
    with connection.open() as api:
        webhook = WebhookCalls(api).get(webhook_id)
    return _print(webhook, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id")
@json_option
@connection_options()
def enable(webhook_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Enable a webhook.

    What was held meanwhile is sent by `calotype webhooks redeliver`.
    """
    with connection.open() as api:
        webhook = WebhookCalls(api).change(webhook_id, {"enabled": True})
    return _print(webhook, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id")
@json_option
@connection_options()
def disable(webhook_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Disable a webhook; its events are held."""
    with connection.open() as api:
        webhook = WebhookCalls(api).change(webhook_id, {"enabled": False})
    return _print(webhook, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id")
@json_option
@connection_options()
def remove(webhook_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Delete a webhook with its deliveries."""
    with connection.open() as api:
        webhook_id = WebhookCalls(api).delete(webhook_id)
    click.echo(json.dumps({"id": webhook_id, "deleted": True}) if as_json else f"{webhook_id}: Deleted.")
    return ExitCode.DONE


@webhooks.command()
@click.argument("webhook_id")
@json_option
@connection_options()
def test(webhook_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Send a test event now; fails unless it is accepted."""
    with connection.open() as api:
        tested = WebhookCalls(api).test(webhook_id)
    attempt = tested["attempt"]
    click.echo(json.dumps(tested, indent=2) if as_json else f"{tested['delivery_id']}: {describe_attempt(attempt)}")
    return ExitCode.FAILED if attempt["error"] else ExitCode.DONE


def _count(event_types: Sequence[str]) -> str:
    return f"{len(event_types)} type{'s' if len(event_types) > 1 else ''}" if event_types else "all"


def _print(webhook: dict[str, Any], *, as_json: bool) -> int:
    """Prints a webhook as lines of name and value, without what is empty, or whole as JSON."""
    if as_json:
        click.echo(json.dumps(webhook, indent=2))
        return ExitCode.DONE
    values = {
        "webhook": webhook["id"],
        "url": webhook["url"],
        "description": webhook["description"],
        "events": ", ".join(webhook["event_types"]) or "all",
        "public keys": " ".join(webhook["public_keys"]),
        **_health(webhook["health"]),
    }
    first, *others = [(name, value) for name, value in values.items() if value]
    print_table(first, others)
    return ExitCode.DONE


def _health(health: dict[str, Any]) -> dict[str, str | None]:
    failure = (health["last_error"], health["last_status"])
    times = ("failing_since", "next_attempt_at", "will_disable_at")
    since, next_attempt, will_disable = (health[name] and local_time(health[name]) for name in times)
    return {
        "state": health["state"],
        "disabled": (health["disabled_reason"] or "").replace("_", " "),
        "last failure": " ".join(str(part) for part in failure if part is not None),
        "failing since": since,
        "next attempt": next_attempt,
        "will be disabled": will_disable,
    }
