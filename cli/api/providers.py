"""`calotype providers`: lists the catalogue, and checks a provider file without a service."""

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

#: Default of `CALOTYPE_MAX_GENERATING_SECONDS`.
MAX_GENERATING_SECONDS = 600.0


class ListByDefault(click.Group):
    """A group whose command `list` runs when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `list` in front of arguments that name no command."""
        is_named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_named else ["list", *args])


@click.group(cls=ListByDefault)
def providers() -> None:
    """List the providers that jobs can name, or check a file."""


@providers.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the catalogue as JSON.")
@connection_options()
def list_providers(as_json: bool, connection: ConnectionOptions) -> int:
    """List providers with their health. The default."""
    with connection.open() as api:
        catalogue = api.providers()
    if as_json:
        click.echo(json.dumps(catalogue, indent=2))
        return ExitCode.DONE
    table = Table("provider", "kind", "health", "default model", "models", box=None, pad_edge=False)
    for provider in catalogue["providers"]:
        names = ", ".join(model["name"] for model in provider["models"])
        table.add_row(
            provider["name"], provider["kind"], provider["health"]["status"], provider["default_model"], names
        )
    Console().print(table)
    return ExitCode.DONE


@providers.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--max-generating-seconds",
    envvar="CALOTYPE_MAX_GENERATING_SECONDS",
    show_envvar=True,
    type=click.FloatRange(min=1),
    default=MAX_GENERATING_SECONDS,
    show_default=True,
    help="No timeout in the file may be longer.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Also make one call to each provider that costs nothing: is the address right, is the key accepted?",
)
def check(file: Path, max_generating_seconds: float, live: bool) -> int:
    """Check a provider file and the keys that it names.

    Fails with exit code 2 for what a service would not start with: errors in the file, each reported with its line and
    field, a key that is not set, a model or an extra that is not installed. With --live it fails with exit code 1
    where a provider refuses the key or is not at its address.
    """
    # Here, not above: to list what a service offers needs none of the generator's libraries.
    from services.generator.adapters.providers import provider_file

    try:
        checked = provider_file.read(file, max_timeout_seconds=max_generating_seconds)
    except provider_file.ProviderFileError as error:
        raise CommandFailed("\n".join(error.mistakes), ExitCode.USAGE) from error
    except ConfigError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    outcomes = []
    for entry in checked.providers:
        default = ", the default" if entry.name == checked.default_name else ""
        click.echo(f"{entry.name}: {entry.kind}, {entry.model}{default}")
        outcomes.append(_check_entry(entry, live=live))
    if ExitCode.USAGE in outcomes:
        return ExitCode.USAGE
    return ExitCode.FAILED if ExitCode.FAILED in outcomes else ExitCode.DONE


def _check_entry(entry: Any, *, live: bool) -> ExitCode:
    """Checks one entry of the file and reports what is wrong with it."""
    from services.generator.adapters.providers.check import LiveCheck, check_live
    from services.generator.adapters.providers.entry import RemoteEntry

    try:
        asyncio.run(_build(entry))
        if not live or not isinstance(entry, RemoteEntry):
            return ExitCode.DONE
        outcome, message = asyncio.run(check_live(entry, environ=os.environ))
    except ConfigError as error:
        click.echo(f"  {error}", err=True)
        return ExitCode.USAGE
    click.echo(f"  {message}", err=outcome is not LiveCheck.PASSED)
    return ExitCode.FAILED if outcome is LiveCheck.FAILED else ExitCode.DONE


async def _build(entry: Any) -> None:
    """Makes the entry's adapter, as the generator does at its start. Raises `ConfigError` where that fails."""
    from services.generator.adapters.images.decoding.processes import DecodingProcesses
    from services.generator.adapters.providers import factory
    from services.generator.adapters.providers.procedural.process_pool import Renderers

    renderers, decoder = Renderers(), DecodingProcesses()
    try:
        provider = factory.build(entry, environ=os.environ, renderers=renderers, decoder=decoder)
        await provider.close()
    finally:
        await renderers.close()
        await decoder.close()
