"""`calotype trace`: what happened to one job, as a timeline in the terminal, for operators."""

import json
from datetime import UTC, datetime

import click

from cli.api.client import ConnectionOptions, connection_options
from cli.api.ids import any_job_id_of
from cli.api.job_report import TimelineEntry, summary_lines, timeline, timeline_lines
from cli.errors import ExitCode


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print the summary and the timeline as JSON.")
@connection_options(operator=True)
def trace(job_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Show what happened to a job as a timeline, for operators.

    Waits, attempts, provider calls, changes and webhooks; needs no tracing backend. A bar that ends with > goes on.
    """
    with connection.open() as api:
        view = api.any_job(any_job_id_of(api, job_id))
    entries = timeline(view)
    if as_json:
        click.echo(json.dumps({**view, "timeline": [_plain(entry) for entry in entries]}))
        return ExitCode.DONE
    for line in [*summary_lines(view), "", *timeline_lines(entries, now=datetime.now(UTC))]:
        click.echo(line.rstrip())
    if view["has_older_events"]:
        click.echo("older changes are not shown", err=True)
    return ExitCode.DONE


def _plain(entry: TimelineEntry) -> dict[str, str | None]:
    ends_at = None if entry.ends_at is None else entry.ends_at.isoformat()
    return {"kind": entry.kind, "starts_at": entry.starts_at.isoformat(), "ends_at": ends_at, "text": entry.text}
