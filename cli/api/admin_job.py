"""`calotype admin job`: what is wrong with one job of any tenant, and what to do."""

import json

import click

from cli.api.client import ConnectionOptions, connection_options
from cli.api.ids import any_job_id_of
from cli.api.job_report import summary_lines
from cli.errors import ExitCode


@click.command("job")
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of the job as JSON.")
@connection_options(operator=True)
def admin_job(job_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Show why a job failed or waits, and the next step."""
    with connection.open() as api:
        view = api.any_job(any_job_id_of(api, job_id))
    if as_json:
        click.echo(json.dumps(view))
        return ExitCode.DONE
    for line in summary_lines(view):
        click.echo(line.rstrip())
    return ExitCode.DONE
