"""`calotype providers`: lists the catalogue, and checks a provider file without a service."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.api.client import ConnectionOptions, connection_options
from cli.errors import CommandFailed, ExitCode
from cli.table import print_table
from common.config import ConfigError

#: Default of `CALOTYPE_MAX_GENERATING_SECONDS`.
MAX_GENERATING_SECONDS = 600.0
#: Outcomes of a check of an entry; the last two are those of a live check (`LiveCheck`), which may also be unsure.
USABLE, UNUSABLE, PASSED, FAILED = "usable", "unusable", "passed", "failed"


class ListByDefault(click.Group):
    """A group whose command `list` runs when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `list` in front of options."""
        is_named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
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
    rows = [
        (
            provider["name"],
            provider["kind"],
            provider["health"]["status"],
            provider["default_model"],
            ", ".join(model["name"] for model in provider["models"]),
        )
        for provider in catalogue["providers"]
    ]
    print_table(("provider", "kind", "health", "default model", "models"), rows)
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
@click.option("--json", "as_json", is_flag=True, help="Print providers and mistakes as JSON.")
def check(file: Path, max_generating_seconds: float, live: bool, as_json: bool) -> int:
    """Check a provider file and the keys that it names.

    Fails with exit code 2 for what a service would not start with: errors in the file, each reported with its line,
    column and field; a key that is not set, a model or an extra that is not installed. With --live it fails with exit
    code 1 where a provider refuses the key or is not at its address.
    """
    # Here, not above: to list what a service offers needs none of the generator's libraries.
    from services.generator.adapters.providers import provider_file

    entries: Sequence[Any] = ()
    mistakes: Sequence[str] = ()
    default_name = None
    try:
        checked = provider_file.read(file, max_timeout_seconds=max_generating_seconds)
        entries, default_name = checked.providers, checked.default_name
    except provider_file.ProviderFileError as error:
        # What is wrong with the other entries shows as well.
        entries, mistakes = error.usable, error.mistakes
    except ConfigError as error:
        mistakes = (str(error),)
    results = []
    for entry in entries:
        named = {"name": entry.name, "kind": entry.kind, "model": entry.model}
        results.append(named | {"is_default": entry.name == default_name} | _check_entry(entry, live=live))
        if not as_json:
            _print(results[-1])
    if as_json:
        click.echo(json.dumps({"providers": results, "mistakes": mistakes}, indent=2))
    elif mistakes:
        raise CommandFailed("\n".join(mistakes), ExitCode.USAGE)
    outcomes = {result["outcome"] for result in results}
    if mistakes or UNUSABLE in outcomes:
        return ExitCode.USAGE
    return ExitCode.FAILED if FAILED in outcomes else ExitCode.DONE


def _print(result: dict[str, Any]) -> None:
    """Prints the result of a check of an entry."""
    default = ", the default" if result["is_default"] else ""
    click.echo(f"{result['name']}: {result['kind']}, {result['model']}{default}")
    if result["message"]:
        click.echo(f"  {result['message']}", err=result["outcome"] != PASSED)


def _check_entry(entry: Any, *, live: bool) -> dict[str, str | None]:
    """Checks one entry of the file; returns the outcome, and as `message` what there is to report or None.

    The outcome is `UNUSABLE` for what a service would not start with, that of a live check if one was made, or
    `USABLE`.
    """
    from services.generator.adapters.providers.check import check_live
    from services.generator.adapters.providers.entry import RemoteEntry

    try:
        asyncio.run(_build(entry))
        if not live or not isinstance(entry, RemoteEntry):
            return {"outcome": USABLE, "message": None}
        outcome, message = asyncio.run(check_live(entry, environ=os.environ))
    except ConfigError as error:
        return {"outcome": UNUSABLE, "message": str(error)}
    return {"outcome": outcome.name.lower(), "message": message}


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
