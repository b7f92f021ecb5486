"""The command: runs all examinations that apply, and prints a line for each finding."""

from collections.abc import Iterator
from pathlib import Path

import click

from cli.doctor import bucket, database, machine, stack
from cli.doctor.findings import Finding, Level, warn
from cli.errors import ExitCode
from cli.stack.database import from_environment
from cli.stack.options import data_option
from cli.stack.state import read_state

COLORS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@data_option
def doctor(data: Path) -> int:
    """Look at everything that a stack needs, and say what to do about what is wrong."""
    worst = ExitCode.DONE
    for finding in examine(data, from_environment()):
        click.echo(f"{click.style(f'{finding.level.value:4}', fg=COLORS[finding.level])}  {finding.fact}")
        if finding.advice:
            click.echo(f"      {finding.advice}")
        if finding.level is Level.FAIL:
            worst = ExitCode.FAILED
    return worst


def examine(data: Path, database_url: str) -> Iterator[Finding]:
    """All findings: about the machine, the folder's stack, its public bucket and database, or those that are named."""
    state = read_state(data)
    yield from machine.examine(data, stack_runs=state is not None)
    if state is None:
        yield warn(f"no stack runs in {data}", "start one: calotype up")
    else:
        yield from stack.examine(state, data)
    storage_url, named = bucket.from_environment()
    if named:
        yield bucket.examine(storage_url, named)
    if state is not None:
        yield bucket.examine(state.storage_url, state.bucket)
    if url := database_url or (state.database_url if state else ""):
        yield from database.examine(url)
