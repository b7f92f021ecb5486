"""`calotype admin`: jobs of all tenants, bulk actions and pauses, for operators."""

import json
from typing import Any
from urllib.parse import quote

import click

from cli.api.admin_bulk import bulk, cancel_jobs, retry_jobs
from cli.api.admin_job import admin_job
from cli.api.client import ConnectionOptions, connection_options
from cli.api.job_filters import filter_options
from cli.api.webhook_options import json_option, page_options
from cli.errors import ExitCode
from cli.table import local_time, print_table

QUEUE = "queue"
KINDS = ("provider", "tenant", QUEUE)


@click.group()
def admin() -> None:
    """Act on jobs of all tenants; pause what is claimed."""


for command in (admin_job, cancel_jobs, retry_jobs, bulk):
    admin.add_command(command)


@admin.command("jobs")
@filter_options
@page_options
@click.option("--json", "as_json", is_flag=True, help="Print the page as JSON.")
@connection_options(operator=True)
def list_jobs(
    filters: dict[str, Any], page_size: int, page_token: str | None, as_json: bool, connection: ConnectionOptions
) -> int:
    """List jobs of all tenants, newest first; they match every filter."""
    with connection.open() as api:
        page = api.first_page_with_jobs("/v1/admin/jobs", filters | {"page_size": page_size}, page_token)
    if as_json:
        click.echo(json.dumps(page))
        return ExitCode.DONE
    rows = [
        (
            found["job"]["id"],
            found["tenant"],
            found["job"]["status"],
            local_time(found["job"]["created_at"]),
            found["job"]["provider"],
            (found["job"]["error"] or {}).get("reason", ""),
        )
        for found in page["jobs"]
    ]
    print_table(("job", "tenant", "status", "created", "provider", "reason"), rows)
    if page["next_page_token"]:
        click.echo(f"more: --page-token {page['next_page_token']}", err=True)
    return ExitCode.DONE


@admin.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", default="")
@click.option("--note", default="", help="Why, for other operators.")
@json_option
@connection_options(operator=True)
def pause(kind: str, name: str, note: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Pause a provider, a tenant or the queue.

    Waiting jobs of it are not claimed until it is resumed; jobs that a worker holds go on.
    """
    with connection.open() as api:
        paused = api.send("POST", f"{_path(kind, name)}:pause", json={"note": note})
    if as_json:
        click.echo(json.dumps(paused))
    click.echo(f"paused {kind} {name}".rstrip(), err=True)
    return ExitCode.DONE


@admin.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", default="")
@json_option
@connection_options(operator=True)
def resume(kind: str, name: str, as_json: bool, connection: ConnectionOptions) -> int:
    """End a pause."""
    with connection.open() as api:
        answer = api.send("POST", f"{_path(kind, name)}:resume")
    if as_json:
        click.echo(json.dumps(answer))
    click.echo(f"{'resumed' if answer['resumed'] else 'was not paused:'} {kind} {name}".rstrip(), err=True)
    return ExitCode.DONE


@admin.command()
@click.option("--json", "as_json", is_flag=True, help="Print the pauses as JSON.")
@connection_options(operator=True)
def pauses(as_json: bool, connection: ConnectionOptions) -> int:
    """List what is paused, oldest first."""
    with connection.open() as api:
        listed = api.send("GET", "/v1/admin/pauses")
    if as_json:
        click.echo(json.dumps(listed))
        return ExitCode.DONE
    rows = [
        (found["kind"], found["name"] or "", local_time(found["paused_at"]), found["paused_by"], found["note"] or "")
        for found in listed["pauses"]
    ]
    print_table(("kind", "name", "since", "by", "note"), rows)
    return ExitCode.DONE


def _path(kind: str, name: str) -> str:
    if bool(name) == (kind == QUEUE):
        raise click.UsageError("The queue has no name." if name else f"Name the {kind}.")
    return "/v1/admin/queue" if kind == QUEUE else f"/v1/admin/{kind}s/{quote(name, safe='')}"
