"""`calotype providers`: what jobs can name and how it does; and whether a provider file can be used."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.api.client import ConnectionOptions, connection_options
from cli.errors import CommandFailed, ExitCode
from common.config import ConfigError

#: `CALOTYPE_MAX_GENERATING_SECONDS`, where it is not set.
MAX_GENERATING_SECONDS = 600.0


class ListByDefault(click.Group):
    """Lists when nothing else is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command in front that was left out."""
        asked = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if asked else ["list", *args])


@click.group(cls=ListByDefault)
def providers() -> None:
    """Show the providers that jobs can name, or check a provider file."""


@providers.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the catalogue as JSON.")
@connection_options()
def list_providers(as_json: bool, connection: ConnectionOptions) -> int:
    """Show the providers that jobs can name, and how they do. The default."""
    with connection.open() as api:
        known = api.providers()
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return ExitCode.DONE
    table = Table("provider", "kind", "health", "default model", "models", box=None, pad_edge=False)
    for one in known["providers"]:
        names = ", ".join(model["name"] for model in one["models"])
        table.add_row(one["name"], one["kind"], one["health"]["status"], one["default_model"], names)
    Console().print(table)
    return ExitCode.DONE


@providers.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--max-generating-seconds",
    envvar="CALOTYPE_MAX_GENERATING_SECONDS",
    type=click.FloatRange(min=1),
    default=MAX_GENERATING_SECONDS,
    show_default=True,
    help="No timeout may be longer.",
)
@click.option(
    "--live", is_flag=True, help="Ask each vendor something that costs nothing: is it there, is the key good?"
)
def check(file: Path, max_generating_seconds: float, live: bool) -> int:
    """Say what is wrong with a provider file, with line and field; keys are looked for, and tried with --live."""
    # Here, not above: to list what a service offers needs none of the generator's libraries.
    from services.generator.adapters.providers import provider_file

    try:
        found = provider_file.read(file, max_timeout_seconds=max_generating_seconds)
    except ConfigError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    wrong = 0
    for entry in found.providers:
        default = ", the default" if entry.name == found.default_name else ""
        click.echo(f"{entry.name}: {entry.kind}, {entry.model}{default}")
        try:
            if entry.api_key_env or entry.api_key_file:
                entry.api_key(os.environ)
            if live:
                wrong += not _is_well(entry)
        except ConfigError as error:
            click.echo(f"  {error}", err=True)
            wrong += live
    return ExitCode.FAILED if wrong else ExitCode.DONE


def _is_well(entry: Any) -> bool:
    """Ask an entry's vendor, and say what came of it."""
    from services.generator.adapters.providers.check import Found, look
    from services.generator.adapters.providers.entry import RemoteEntry

    if not isinstance(entry, RemoteEntry):
        return True
    found, told = asyncio.run(look(entry, environ=os.environ))
    click.echo(f"  {told}", err=found is not Found.WELL)
    return found is not Found.WRONG
