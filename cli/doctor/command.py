"""The command: runs all checks that apply, and prints a line for each finding."""

from collections.abc import Iterator
from pathlib import Path

import click

from cli.doctor import bucket, database, machine, stack
from cli.doctor.findings import Finding, Level, warn
from cli.errors import ExitCode
from cli.stack.database import from_environment
from cli.stack.options import data_option
from cli.stack.state import find_leftovers, find_supervisor, read_state

COLORS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@data_option
def doctor(data: Path) -> int:
    """Check all that a stack needs, with advice on what is wrong."""
    worst = ExitCode.DONE
    for finding in examine(data, from_environment()):
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
