"""`calotype keys`: makes keys for the gateway's keys file; shows and replaces those of a stack."""

import hashlib
import json
import secrets
from pathlib import Path

import click
import yaml

from cli.errors import CommandFailed, ExitCode
from cli.stack.options import data_option
from cli.stack.state import require_state

PREFIX = "cal_"
#: Random bytes in a key.
RANDOM_BYTES = 32


@click.group()
def keys() -> None:
    """Make keys for the gateway; show or replace those of a stack."""


@keys.command()
@click.argument("tenant")
@click.option("--role", type=click.Choice(["tenant", "operator"]), default="tenant", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print key, digest and line as JSON.")
def new(tenant: str, role: str, as_json: bool) -> int:
    """Print a new key for TENANT and its line of the keys file.

    The key itself is stored nowhere.
    """
    # Here, not above: other commands need none of the gateway's libraries.
    from gateway.auth.keys_file import TENANT_NAME

    if not TENANT_NAME.fullmatch(tenant):
        raise CommandFailed("TENANT must be 1 to 64 letters, digits, - or _.", ExitCode.USAGE)
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    digest = hashlib.sha256(key.encode("ascii")).hexdigest()
    # The library quotes names that YAML would read as a number or a boolean.
    entry = yaml.safe_dump(
        {"name": tenant, "role": role, "key_sha256": [digest]}, default_flow_style=True, sort_keys=False, width=1000
    )
    line = f"- {entry.strip()}"
    if as_json:
        click.echo(json.dumps({"key": key, "tenant": tenant, "role": role, "sha256": digest, "line": line}))
        return ExitCode.DONE
    click.echo(f"{key}\n  {line}")
    click.echo(
        "The key is shown only once. Put the line under tenants: in the keys file; if the tenant is there already, add "
        "the digest to its key_sha256.",
        err=True,
    )
    return ExitCode.DONE


@keys.command()
@click.argument("name", type=click.Choice(["default", "operator"]))
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print tenant and key as JSON.")
def replace(name: str, data: Path, as_json: bool) -> int:
    """Print a new key of a stack's tenant; the old one is revoked.

    A running gateway refuses the old key within two seconds. The rest of the keys file stays as it is.
    """
    # Here, not above: other commands need none of the stack's libraries.
    from dataclasses import replace as with_changes

    from cli.stack.keys import replace_key
    from cli.stack.state import read_state

    if not (data / "keys.json").exists():
        raise CommandFailed(f"There is no stack in {data}.", ExitCode.NOT_REACHABLE)
    try:
        key = replace_key(data, name)
    except LookupError as error:
        message = (
            f"{data / 'keys.yaml'} does not list the stack's key of {name}; add a key with: calotype keys new {name}"
        )
        raise CommandFailed(message) from error
    if (state := read_state(data)) is not None:
        is_operator = name == "operator"
        changed = with_changes(state, operator_key=key) if is_operator else with_changes(state, api_key=key)
        changed.write(data)
    click.echo(json.dumps({"tenant": name, "key": key}) if as_json else key)
    return ExitCode.DONE


@keys.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the variables as JSON.")
def show(data: Path, as_json: bool) -> int:
    """Print the variables to use a stack: eval "$(calotype keys show)".

    They are CALOTYPE_API_KEY, OPENAI_BASE_URL and OPENAI_API_KEY.
    """
    # Here, not above: other commands need none of the stack's libraries.
    from cli.stack.exports import exported, exports, key_need

    state = require_state(data)
    click.echo(json.dumps(exported(state)) if as_json else "\n".join(exports(state)))
    click.echo(key_need(state), err=True)
    return ExitCode.DONE
