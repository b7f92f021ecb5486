"""`calotype keys`: fresh keys for the gateway's keys file, and those of a stack that runs."""

import hashlib
import json
import secrets
from pathlib import Path

import click
import yaml

from cli.errors import CommandFailed, ExitCode
from cli.stack.options import data_option

PREFIX = "cal_"
RANDOM_BYTES = 32


@click.group()
def keys() -> None:
    """Make keys for those who may ask the gateway, or show that of a stack."""


@keys.command()
@click.argument("tenant")
@click.option("--role", type=click.Choice(["tenant", "operator"]), default="tenant", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print key, digest and line as JSON.")
def new(tenant: str, role: str, as_json: bool) -> int:
    """Print a fresh key for TENANT, and its line for the keys file. The key is kept nowhere."""
    # Here, not above: other commands need none of the gateway's libraries.
    from gateway.auth.keys_file import TENANT_NAME

    if not TENANT_NAME.fullmatch(tenant):
        raise CommandFailed("TENANT is 1 to 64 letters, digits, - or _.", ExitCode.USAGE)
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    digest = hashlib.sha256(key.encode("ascii")).hexdigest()
    # Written by the library, which quotes what YAML would take for a number or a truth.
    entry = yaml.safe_dump(
        {"name": tenant, "role": role, "key_sha256": [digest]}, default_flow_style=True, sort_keys=False, width=1000
    )
    line = f"- {entry.strip()}"
    if as_json:
        click.echo(json.dumps({"key": key, "tenant": tenant, "role": role, "sha256": digest, "line": line}))
        return ExitCode.DONE
    click.echo(f"{key}\n  {line}")
    click.echo(
        "The key is shown this once. The line belongs under tenants: in the keys file; for a tenant that is there "
        "already, add the digest to its key_sha256.",
        err=True,
    )
    return ExitCode.DONE


@keys.command()
@data_option
def show(data: Path) -> int:
    """Print what a shell exports to use the stack of a folder: eval "$(calotype keys show)"."""
    # Here, not above: other commands need none of the stack's libraries.
    from cli.stack.commands import running
    from cli.stack.exports import exports, key_need

    state = running(data)
    click.echo("\n".join(exports(state)))
    click.echo(key_need(state), err=True)
    return ExitCode.DONE
