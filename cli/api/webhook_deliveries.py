"""`calotype webhooks deliveries` and `redeliver`: what was sent to receivers, and sending it again."""

import json
from typing import Any

import click

from cli.api.client import ConnectionOptions, connection_options
from cli.api.webhook_calls import CALLBACKS, WebhookCalls
from cli.api.webhook_options import EVENT_TYPES, STATES, Moment, json_option, page_options
from cli.errors import CommandFailed, ExitCode
from cli.table import local_time, print_table


@click.command()
@click.argument("webhook_id", metavar=f"WEBHOOK_ID|{CALLBACKS}")
@click.option("--state", type=click.Choice(STATES))
@click.option("--event", type=click.Choice(EVENT_TYPES))
@page_options
@json_option
@connection_options()
def deliveries(
    webhook_id: str,
    state: str | None,
    event: str | None,
    page_size: int,
    page_token: str | None,
    as_json: bool,
    connection: ConnectionOptions,
) -> int:
    """List deliveries to a webhook, newest first.

    With `callbacks` in place of the id: to the callback URLs of jobs.
    """
    with connection.open() as api:
        page = WebhookCalls(api).deliveries(
            webhook_id, state=state, event_type=event, page_size=page_size, page_token=page_token
        )
    if as_json:
        click.echo(json.dumps(page))
        return ExitCode.DONE
    rows = [
        (
            delivery["id"],
            delivery["event_type"],
            delivery["state"],
            local_time(delivery["created_at"]),
            describe_attempt(delivery["last_attempt"]),
        )
        for delivery in page["deliveries"]
    ]
    print_table(("delivery", "event", "state", "created", "last attempt"), rows)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@click.command()
@click.argument("delivery_id", required=False)
@click.option("--endpoint", metavar="WEBHOOK_ID", help="Webhook whose held and failed deliveries are sent again.")
@click.option("--after", type=Moment(), help="Those created at or after this time, such as 2026-01-31T12:00:00Z.")
@click.option("--before", type=Moment(), help="Those created before this time. Default: now.")
@json_option
@connection_options()
def redeliver(
    delivery_id: str | None,
    endpoint: str | None,
    after: str | None,
    before: str | None,
    as_json: bool,
    connection: ConnectionOptions,
) -> int:
    """Send a delivery, or those of a time range, again.

    Either name a delivery, or --endpoint and --after.
    """
    is_range = (endpoint, after, before) != (None, None, None)
    if is_range == (delivery_id is not None) or (is_range and (endpoint is None or after is None)):
        raise CommandFailed("Name either a delivery, or --endpoint and --after.", ExitCode.USAGE)
    with connection.open() as api:
        calls = WebhookCalls(api)
        if endpoint is not None and after is not None:
            answer = calls.redeliver_range(endpoint, after=after, before=before)
            count = answer["count"]
            text = f"{count} {'delivery is' if count == 1 else 'deliveries are'} sent again."
        else:
            answer = calls.redeliver(delivery_id or "")
            text = f"{answer['id']}: {answer['state']}."
    click.echo(json.dumps(answer) if as_json else text)
    return ExitCode.DONE


def describe_attempt(attempt: dict[str, Any] | None) -> str:
    """Returns an attempt in a few words; empty for None."""
    if attempt is None:
        return ""
    if attempt["error"] is None:
        return f"accepted with status {attempt['status']} in {attempt['duration_ms']} ms"
    return f"{attempt['error']}: {attempt['message'] or ''}".rstrip(": ")
