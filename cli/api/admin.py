"""`calotype admin`: jobs of all tenants, for operators."""

import json
from typing import Any

import click

from cli.api.client import ConnectionOptions, GatewayApi, connection_options
from cli.api.job_filters import filter_options
from cli.api.table import local_time, print_table
from cli.api.webhook_options import page_options
from cli.errors import ExitCode

#: Calls of one command while the pages that it gets are empty.
MAX_CALLS = 20


@click.group()
def admin() -> None:
    """Find jobs of all tenants."""


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
        page = _first_page_with_jobs(api, filters | {"page_size": page_size}, page_token)
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


def _first_page_with_jobs(api: GatewayApi, params: dict[str, Any], token: str | None) -> dict[str, Any]:
    """Returns the next page that is not empty; an empty one means only that the jobs of one call did not match."""
    for _ in range(MAX_CALLS):
        page = api.send("GET", "/v1/admin/jobs", params=params | ({"page_token": token} if token else {}))
        token = page["next_page_token"]
        if page["jobs"] or not token:
            break
    return page
