"""`calotype dead`: lists and replays dead letters, for operators."""

import json

import click

from cli.api.client import ConnectionOptions, connection_options
from cli.errors import ExitCode
from cli.table import local_time, print_table


@click.group()
def dead() -> None:
    """List and replay messages that could not be applied."""


@dead.command("list")
@click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--page-token", default="", help="Token that the page before ended with.")
@click.option(
    "--parked",
    is_flag=True,
    help="List parked messages instead: they are retried automatically, and are dead letters after a day.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the page as JSON.")
@connection_options(operator=True)
def list_letters(page_size: int, page_token: str, parked: bool, as_json: bool, connection: ConnectionOptions) -> int:
    """List dead letters, oldest first."""
    with connection.open() as api:
        page = api.dead_letters(page_size=page_size, page_token=page_token, parked=parked)
    if as_json:
        click.echo(json.dumps(page))
        return ExitCode.DONE
    rows = [
        (letter["id"], local_time(letter["died_at"]), letter["type"] or "", letter["job_id"] or "", letter["reason"])
        for letter in page["dead_letters"]
    ]
    print_table(("id", "died", "type", "job", "reason"), rows)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@dead.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ids as JSON.")
@connection_options(operator=True)
def replay(ids: tuple[str, ...], as_json: bool, connection: ConnectionOptions) -> int:
    """Publish dead letters again, once their cause is mended."""
    with connection.open() as api:
        for letter_id in ids:
            api.replay(letter_id)
            click.echo(f"replayed {letter_id}", err=True)
    if as_json:
        click.echo(json.dumps({"replayed": ids}))
    return ExitCode.DONE
