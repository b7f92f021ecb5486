"""`calotype webhooks rotate` and `signing-secret`: the secrets that sign deliveries."""

import json
import uuid
from collections.abc import Sequence

import click

from cli.api.client import ConnectionOptions, connection_options
from cli.api.webhook_calls import SIGNING_SECRET, WebhookCalls
from cli.api.webhook_options import json_option
from cli.errors import ExitCode
from cli.table import local_time

_KEEP = "No later command shows the secret of a webhook: keep it where the receiver reads it."


@click.command()
@click.argument("webhook_id")
@click.option(
    "--grace-seconds",
    type=click.IntRange(0, 604_800),
    default=86_400,
    show_default=True,
    help="How long the old secret signs, too.",
)
@json_option
@connection_options()
def rotate(webhook_id: str, grace_seconds: int, as_json: bool, connection: ConnectionOptions) -> int:
    """Print a new secret of a webhook.

    With `signing-secret` in place of the id: of the callback URLs of jobs.
    """
    with connection.open() as api:
        rotated = WebhookCalls(api).rotate(webhook_id, grace_seconds=grace_seconds, idempotency_key=uuid.uuid4().hex)
    if as_json:
        click.echo(json.dumps(rotated))
        return ExitCode.DONE
    print_secret(rotated["secret"], [rotated["public_key"]])
    if rotated["old_expires_at"]:
        click.echo(f"The old one signs, too, until {local_time(rotated['old_expires_at'])}.", err=True)
    return ExitCode.DONE


@click.command(SIGNING_SECRET)
@json_option
@connection_options()
def signing_secret(as_json: bool, connection: ConnectionOptions) -> int:
    """Print the secret of the callback URLs of jobs."""
    with connection.open() as api:
        found = WebhookCalls(api).signing_secret()
    click.echo(json.dumps(found) if as_json else found["secret"])
    return ExitCode.DONE


def print_secret(secret: str | None, public_keys: Sequence[str]) -> None:
    """Prints a new secret, or the public keys of a webhook that has no shared secret."""
    if secret is None:
        click.echo("\n".join(public_keys))
        return
    click.echo(secret)
    click.echo(_KEEP, err=True)
