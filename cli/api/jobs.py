"""`calotype jobs`: look at jobs, follow, cancel, retry and delete them."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.api.client import FINAL, ConnectionOptions, connection_options
from cli.api.progress import show, tell_end
from cli.errors import ExitCode

STATUSES = ("queued", "processing", "generating", "uploading", *FINAL)
PROMPT_SHOWN = 48


@click.group()
def jobs() -> None:
    """Look at jobs, follow, cancel, retry and delete them."""


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
    table = Table("job", "status", "provider", "created", "prompt", box=None, pad_edge=False)
    for job in page["jobs"]:
        prompt = (job["request"] or {}).get("prompt", "")
        shown = prompt if len(prompt) <= PROMPT_SHOWN else f"{prompt[: PROMPT_SHOWN - 1]}…"
        table.add_row(job["id"], job["status"], job["provider"], job["created_at"], shown)
    Console().print(table)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@jobs.command()
@click.argument("job_id")
@connection_options()
def get(job_id: str, connection: ConnectionOptions) -> int:
    """Print a job as JSON."""
    with connection.open() as api:
        return _print(api.get(job_id))


@jobs.command()
@click.argument("job_id")
@connection_options()
def watch(job_id: str, connection: ConnectionOptions) -> int:
    """Follow a job until it is final; prints the addresses of its pictures."""
    with connection.open() as api:
        show(api.watch(job_id))
        job = api.get(job_id)
    for artifact in job["artifacts"]:
        click.echo(artifact["url"])
    return tell_end(job)


@jobs.command()
@click.argument("job_id")
@connection_options()
def cancel(job_id: str, connection: ConnectionOptions) -> int:
    """Cancel a job."""
    with connection.open() as api:
        return _print(api.act(job_id, "cancel"))


@jobs.command()
@click.argument("job_id")
@click.option("--pay-again", is_flag=True, help="Accept that a call of unknown outcome may be charged twice.")
@connection_options()
def retry(job_id: str, pay_again: bool, connection: ConnectionOptions) -> int:
    """Try a failed job again, from the stage that failed."""
    with connection.open() as api:
        return _print(api.act(job_id, "retry", {"on_ambiguous": "retry"} if pay_again else None))


@jobs.command()
@click.argument("job_id")
@connection_options()
def delete(job_id: str, connection: ConnectionOptions) -> int:
    """Delete a final job with its pictures."""
    with connection.open() as api:
        api.delete(job_id)
    return ExitCode.DONE


def _print(value: dict[str, Any]) -> int:
    click.echo(json.dumps(value, indent=2))
    return ExitCode.DONE
