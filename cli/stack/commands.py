"""The commands `calotype up`, `down`, `status` and `migrate`."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import click
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from cli.environment import check_names
from cli.errors import CommandFailed, ExitCode
from cli.stack import detached, foreground
from cli.stack.database import UPGRADES, from_environment
from cli.stack.embedded import Options
from cli.stack.exports import exports, key_need
from cli.stack.options import Address, Replicas, data_option
from cli.stack.readiness import Row, check
from cli.stack.state import StackState, require_state
from cli.table import print_table

STATE_COLORS = {"ready": "green", "not ready": "yellow", "ended": "red"}


@click.command()
@click.option(
    "--http",
    type=Address(),
    default="127.0.0.1:8080",
    show_default=True,
    help="Where the gateway listens; port 0 is any free port.",
)
@data_option
@click.option(
    "--providers",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    envvar="CALOTYPE_PROVIDERS_FILE",
    show_envvar=True,
    help="Provider file. Without a file the only provider is procedural: offline, free, no AI.",
)
@click.option(
    "--replicas",
    type=Replicas(),
    default="",
    help="Processes of each service, such as 2, or generator=2,uploader=2. Default: one each.",
)
@click.option("--require-auth", is_flag=True, help="Require a key even while every provider is free.")
@click.option("--detach", is_flag=True, help="Return when everything is ready, and leave it running.")
@click.option("--print-no-keys", is_flag=True, hidden=True, help="Print no key: the output goes into a log.")
@click.option("--grace-seconds", envvar="CALOTYPE_GRACE_SECONDS", type=float, default=660.0, hidden=True)
def up(
    http: tuple[str, int],
    data: Path,
    providers: Path | None,
    replicas: dict[str, int],
    require_auth: bool,
    detach: bool,
    print_no_keys: bool,
    grace_seconds: float,
) -> int:
    """Run a whole stack on this machine until Ctrl-C.

    These are PostgreSQL, NATS, object storage and the services, with all data in one folder.
    """
    # Files of this process and of all that it starts are readable by their owner alone.
    os.umask(0o077)
    check_names()
    options = Options(
        folder=data,
        http=http,
        providers=providers,
        replicas=replicas,
        require_auth=require_auth,
        grace_seconds=grace_seconds,
    )
    if not detach:
        return foreground.run(options, _report, (lambda _: None) if print_no_keys else _introduce)
    state = detached.start(options, _report)
    click.echo(state.http)
    _introduce(state)
    return ExitCode.DONE


@click.command()
@data_option
def down(data: Path) -> int:
    """Stop the stack of a folder; its data stays."""
    was_running = detached.stop(data, _report)
    _report("stopped; the data stays" if was_running else f"no stack runs in {data}")
    return ExitCode.DONE


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print address and processes as JSON.")
def status(data: Path, as_json: bool) -> int:
    """Show each process of the stack and whether it is ready."""
    state = require_state(data)
    rows = check(state)
    if as_json:
        click.echo(json.dumps({"http": state.http, "data": str(data), "processes": [asdict(row) for row in rows]}))
    else:
        print_table(
            ("process", "pid", "state", "address"),
            [(row.name, str(row.pid), _state(row), row.address) for row in rows],
            colors=STATE_COLORS,
        )
        for row in rows:
            if row.why:
                click.echo(f"{row.name}: {row.why}")
        click.echo(f"{state.http}  data in {data}")
    return ExitCode.DONE if all(row.ready for row in rows) else ExitCode.FAILED


@click.command()
@data_option
@click.option(
    "--service",
    type=click.Choice(list(UPGRADES)),
    help="Service whose schema it is. Default: job with CALOTYPE_DATABASE_URL, and every service of a running stack.",
)
def migrate(data: Path, service: str | None) -> int:
    """Bring a database to the newest schema.

    The database is that of CALOTYPE_DATABASE_URL, or of the running stack. A schema of a newer version stays as it is.
    """
    for name, url in _databases(data, service).items():
        began = time.monotonic()
        try:
            is_newest = UPGRADES[name](url)
        except (SQLAlchemyError, CommandError) as error:
            reason = str(error).strip().splitlines()[0]
            message = f"The database of {name} could not be migrated: {reason}"
            raise CommandFailed(message, ExitCode.NOT_REACHABLE) from error
        if is_newest:
            _report(f"the schema of {name} is the newest ({time.monotonic() - began:.1f} s)")
        else:
            _report(f"the schema of {name} is that of a newer version: nothing was changed")
    return ExitCode.DONE


def _databases(data: Path, service: str | None) -> dict[str, str]:
    """URLs of the databases to migrate, by service."""
    if url := from_environment():
        return {service or "job": url}
    urls = require_state(data).database_urls
    return urls if service is None else {service: urls[service]}


def _state(row: Row) -> str:
    if not row.alive:
        return "ended"
    return "ready" if row.ready else "not ready"


def _introduce(state: StackState) -> None:
    """Prints what people and programs need to know to standard error: scripts read the address from standard output."""
    lines = [
        f"The studio, the page on which people make and find images: {state.http}/",
        key_need(state),
        "In the shell of your programs (`calotype keys show` prints it again):",
        *(f"  {line}" for line in exports(state)),
        f"The API is described at {state.http}/docs; the operations page is {state.http}/ops",
    ]
    click.echo("\n".join(lines), err=True)


def _report(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {line}", err=True)
