"""`calotype dead`: messages that were refused for good, for operators."""

import json

import click
from rich.console import Console
from rich.table import Table

from cli.api.client import ConnectionOptions, connection_options
from cli.errors import ExitCode


@click.group()
def dead() -> None:
    """List and replay messages that were refused for good."""


@dead.command("list")
@click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--page-token", default="", help="Token that the page before ended with.")
@click.option("--parked", is_flag=True, help="Instead, what is tried again by itself, and dead after a day.")
@click.option("--json", "as_json", is_flag=True, help="Print the page as JSON.")
@connection_options(operator=True)
def list_letters(page_size: int, page_token: str, parked: bool, as_json: bool, connection: ConnectionOptions) -> int:
    """List dead letters, oldest first."""
    with connection.open() as api:
        page = api.dead_letters(page_size=page_size, page_token=page_token, parked=parked)
    if as_json:
        click.echo(json.dumps(page))
        return ExitCode.DONE
    table = Table("id", "died", "type", "job", "reason", box=None, pad_edge=False)
    for one in page["dead_letters"]:
        table.add_row(one["id"], one["died_at"], one["type"] or "", one["job_id"] or "", one["reason"])
    Console().print(table)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@dead.command()
@click.argument("ids", nargs=-1, required=True)
@connection_options(operator=True)
def replay(ids: tuple[str, ...], connection: ConnectionOptions) -> int:
    """Publish dead letters again, once what refused them is mended."""
    with connection.open() as api:
        for letter_id in ids:
            api.replay(letter_id)
            click.echo(f"replayed {letter_id}", err=True)
    return ExitCode.DONE
