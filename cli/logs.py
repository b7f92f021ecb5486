"""`calotype logs`: the stack's log lines about a job, of all services, by time."""

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from cli.errors import CommandFailed, ExitCode
from cli.stack.options import data_option
from common.log_lines import as_text

#: Lines that are shown at most, the newest ones.
MAX_LINES = 10_000


@click.command()
@click.argument("job", required=False)
@click.option(
    "--last", type=click.IntRange(1, MAX_LINES), default=200, show_default=True, help="Number of lines, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are in the files.")
@data_option
def logs(job: str | None, last: int, as_json: bool, data: Path) -> int:
    """Show log lines of all services, about JOB or the newest.

    They are sorted by time. Reads the files in the folder of the stack, which may run or not. Lines in text form are
    left out.
    """
    folder = data / "logs"
    files = sorted(folder.glob("*.log*"))
    if not files:
        raise CommandFailed(f"There are no logs in {folder}.", ExitCode.NOT_REACHABLE)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    newest = sorted(
        (found for file in files for found in deque(_lines(file, job), maxlen=last)), key=lambda found: found[0]
    )[-last:]
    for _, line, raw in newest:
        click.echo(raw if as_json else as_text(line, colour=colour, service=str(line.get("service", ""))), color=True)
    if job is not None and not newest:
        raise CommandFailed(f"No line in {folder} names {job}.")
    return ExitCode.DONE


def _lines(file: Path, job: str | None) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields time, content and text of the lines of a file that name a job; None: of all lines."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        yield from _parsed(line for line in opened if job is None or job in line)


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and isinstance(content.get("time"), str):
            yield content["time"], content, line.rstrip("\n")
