"""The command: runs all checks that apply, and prints a line for each finding."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from cli.doctor import bucket, database, machine, stack
from cli.doctor.findings import Finding, Level, warn
from cli.errors import CommandFailed, ExitCode
from cli.stack.database import from_environment
from cli.stack.options import data_option
from cli.stack.state import find_leftovers, find_supervisor, read_state

COLORS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@data_option
@click.option(
    "--database-url",
    metavar="URL",
    help="Check only this database, such as that of production; CALOTYPE_DATABASE_URL keeps a password out of the "
    "list of processes, and is checked besides the stack.",
)
@click.option(
    "--service",
    type=click.Choice(list(database.IS_BEHIND)),
    default="job",
    show_default=True,
    help="Service whose schema is in the database of --database-url.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(data: Path, database_url: str | None, service: str, as_json: bool) -> int:
    """Check all that a stack needs, with advice on what is wrong.

    CALOTYPE_DATABASE_URL and CALOTYPE_BUCKET name a database and a bucket to check besides.
    """
    findings = examine(data, from_environment()) if database_url is None else examine_database(database_url, service)
    if as_json:
        found = list(findings)
        plain = [
            {"level": finding.level.value, "fact": finding.fact, "advice": finding.advice or None} for finding in found
        ]
        click.echo(json.dumps({"findings": plain}, indent=2))
        return ExitCode.FAILED if any(finding.level is Level.FAIL for finding in found) else ExitCode.DONE
    return _report(findings)


def examine_database(url: str, service: str) -> Iterator[Finding]:
    """Yields findings about a database and the schema of a service in it, and the bucket that the environment names.

    Raises `CommandFailed` for a text that is no URL of a database.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise CommandFailed("--database-url must begin with postgresql://", ExitCode.USAGE)
    storage_url, bucket_name = bucket.from_environment()
    if bucket_name:
        yield bucket.examine(storage_url, bucket_name)
    found = list(database.examine(url))
    yield from found
    if all(finding.advice != database.START for finding in found):
        yield database.schema(service, url)


def _report(findings: Iterator[Finding]) -> ExitCode:
    worst = ExitCode.DONE
    for finding in findings:
        click.echo(f"{click.style(f'{finding.level.value:4}', fg=COLORS[finding.level])}  {finding.fact}")
        if finding.advice:
            click.echo(f"      {finding.advice}")
        if finding.level is Level.FAIL:
            worst = ExitCode.FAILED
    return worst


def examine(data: Path, database_url: str) -> Iterator[Finding]:
    """Yields findings about the machine, the folder's stack, and buckets and database of the stack or the environment.

    `database_url` takes the place of the stack's database; it is empty when the environment names none.
    """
    state, has_supervisor = read_state(data), find_supervisor(data) is not None
    leftovers = [] if has_supervisor else find_leftovers(data)
    yield from machine.examine(data, needs_port=not has_supervisor and not leftovers)
    if state is not None:
        yield from stack.examine(state, data)
    elif has_supervisor:
        yield warn(f"the stack in {data} is starting or stopping", "run this again when it is ready")
    elif leftovers:
        yield stack.killed(leftovers)
    else:
        yield warn(f"no stack runs in {data}", "start one: calotype up")
    storage_url, bucket_name = bucket.from_environment()
    if bucket_name:
        yield bucket.examine(storage_url, bucket_name)
    if state is not None:
        yield bucket.examine(state.storage_url, state.bucket)
    if url := database_url or (state.database_url if state else ""):
        yield from database.examine(url)
    if state is not None:
        for service, own_url in state.database_urls.items():
            yield database.schema(service, own_url)
