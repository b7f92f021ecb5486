"""`calotype jobs`: list, read, follow, cancel, retry and delete jobs."""

import json
from typing import Any

import click
from calotype.error_reasons import Reason
from calotype.job_status import FINAL_STATUSES

from cli.api.client import ConnectionOptions, Refused, connection_options
from cli.api.ids import job_id_of
from cli.api.progress import follow, report_end
from cli.errors import CommandFailed, ExitCode
from cli.table import local_time, print_table

STATUSES = ("queued", "processing", "generating", "uploading", *FINAL_STATUSES)
_job_argument = click.argument("job_id", metavar="JOB")


@click.group()
def jobs() -> None:
    """List, read, follow, cancel, retry and delete jobs.

    JOB is the id of a job, or any beginning of it that no other job's id has, such as job_01a219cf.
    """


@jobs.command("list")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="May be repeated.")
@click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--page-token", help="Token that the page before ended with.")
@click.option("--json", "as_json", is_flag=True, help="Print the page as JSON.")
@connection_options()
def list_jobs(
    status: tuple[str, ...], page_size: int, page_token: str | None, as_json: bool, connection: ConnectionOptions
) -> int:
    """List jobs, newest first."""
    with connection.open() as api:
        page = api.list(status=status, page_size=page_size, page_token=page_token)
    if as_json:
        click.echo(json.dumps(page))
        return ExitCode.DONE
    rows = [
        (
            job["id"],
            job["status"],
            local_time(job["created_at"]),
            job["provider"],
            (job["request"] or {}).get("prompt", ""),
        )
        for job in page["jobs"]
    ]
    print_table(("job", "status", "created", "provider", "prompt"), rows)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@jobs.command()
@_job_argument
@click.option("--json", is_flag=True, expose_value=False, help="Print the job as JSON, as without it.")
@connection_options()
def get(job_id: str, connection: ConnectionOptions) -> int:
    """Print a job as JSON."""
    with connection.open() as api:
        click.echo(json.dumps(api.get(job_id_of(api, job_id)), indent=2))
    return ExitCode.DONE


@jobs.command()
@_job_argument
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON in place of the addresses.")
@connection_options()
def watch(job_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Follow a job until it is final; print its images' addresses."""
    with connection.open() as api:
        job = follow(api, job_id_of(api, job_id))
    for line in [json.dumps(job)] if as_json else [artifact["url"] for artifact in job["artifacts"]]:
        click.echo(line)
    return report_end(job)


@jobs.command()
@_job_argument
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
@connection_options()
def cancel(job_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Cancel a job."""
    with connection.open() as api:
        return _print(api.act(job_id_of(api, job_id), "cancel"), as_json=as_json)


@jobs.command()
@_job_argument
@click.option("--pay-again", is_flag=True, help="Accept that a call of unknown outcome may be charged twice.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
@connection_options()
def retry(job_id: str, pay_again: bool, as_json: bool, connection: ConnectionOptions) -> int:
    """Try a failed job again, from the stage that failed."""
    with connection.open() as api:
        job_id = job_id_of(api, job_id)
        try:
            return _print(api.act(job_id, "retry", {"on_ambiguous": "retry"} if pay_again else None), as_json=as_json)
        except Refused as refused:
            if refused.reason != Reason.CONSENT_REQUIRED:
                raise
            message = (
                "Refused: CONSENT_REQUIRED: The outcome of a paid call is unknown. To try again, though it may be "
                f"charged twice: calotype jobs retry {job_id} --pay-again"
            )
            raise CommandFailed(message, ExitCode.REFUSED) from refused


@jobs.command()
@_job_argument
@click.option("--json", "as_json", is_flag=True, help="Print the id as JSON.")
@connection_options()
def delete(job_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Delete a final job with its images."""
    with connection.open() as api:
        job_id = job_id_of(api, job_id)
        api.delete(job_id)
    click.echo(json.dumps({"id": job_id, "deleted": True}) if as_json else f"{job_id}: Deleted.")
    return ExitCode.DONE


def _print(job: dict[str, Any], *, as_json: bool) -> int:
    """Prints a job in one line, or whole as JSON."""
    display = job["display"]
    click.echo(json.dumps(job, indent=2) if as_json else f"{job['id']}: {display['title']}. {display['message']}")
    return ExitCode.DONE
