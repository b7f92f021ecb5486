"""`calotype admin cancel`, `retry` and `bulk`: act on every job of a filter, for operators."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from cli.api.client import ConnectionOptions, GatewayApi, connection_options
from cli.api.ids import bulk_action_id_of
from cli.api.job_filters import filter_options
from cli.api.webhook_options import json_option
from cli.errors import ExitCode
from cli.table import local_time, print_table

PATH = "/v1/admin/bulk-actions"
#: Seconds between two looks at a bulk action that is followed.
POLL_SECONDS = 0.5


@click.command("cancel")
@filter_options
@click.option("--preview", is_flag=True, help="Count the jobs, and cancel none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@connection_options(operator=True)
def cancel_jobs(filters: dict[str, Any], preview: bool, yes: bool, as_json: bool, connection: ConnectionOptions) -> int:
    """Cancel every job that matches the filters and is not final."""
    body = {"action": "cancel", "filter": filters}
    return _act(connection, body, only_preview=preview, yes=yes, as_json=as_json)


@click.command("retry")
@filter_options
@click.option("--pay-again", is_flag=True, help="Also retry jobs whose images may be paid for already.")
@click.option("--preview", is_flag=True, help="Count the jobs, and retry none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@connection_options(operator=True)
def retry_jobs(
    filters: dict[str, Any], pay_again: bool, preview: bool, yes: bool, as_json: bool, connection: ConnectionOptions
) -> int:
    """Retry every failed job that matches the filters."""
    body = {"action": "retry", "filter": filters, "on_ambiguous": "retry" if pay_again else "fail"}
    return _act(connection, body, only_preview=preview, yes=yes, as_json=as_json)


@click.group()
def bulk() -> None:
    """List, follow and stop what `admin cancel` and `admin retry` started."""


@bulk.command("list")
@json_option
@connection_options(operator=True)
def list_bulk_actions(as_json: bool, connection: ConnectionOptions) -> int:
    """List the newest bulk actions."""
    with connection.open() as api:
        listed = api.send("GET", PATH)
    if as_json:
        click.echo(json.dumps(listed))
        return ExitCode.DONE
    rows = [
        (found["id"], found["action"], found["status"], _progress(found), local_time(found["created_at"]),
         found["requested_by"])
        for found in listed["bulk_actions"]
    ]  # fmt: skip
    print_table(("bulk action", "action", "status", "progress", "created", "by"), rows)
    return ExitCode.DONE


@bulk.command()
@click.argument("bulk_action_id", metavar="BULK_ACTION")
@json_option
@connection_options(operator=True)
def follow(bulk_action_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Show the progress of a bulk action until it is over."""
    with connection.open() as api:
        return _follow(api, bulk_action_id_of(api, bulk_action_id), as_json=as_json)


@bulk.command()
@click.argument("bulk_action_id", metavar="BULK_ACTION")
@json_option
@connection_options(operator=True)
def stop(bulk_action_id: str, as_json: bool, connection: ConnectionOptions) -> int:
    """Stop a bulk action; what it did stays."""
    with connection.open() as api:
        stopped = api.send("POST", f"{_path(bulk_action_id_of(api, bulk_action_id))}:cancel")
    _print(stopped, as_json=as_json)
    return ExitCode.DONE


def _act(connection: ConnectionOptions, body: dict[str, Any], *, only_preview: bool, yes: bool, as_json: bool) -> int:
    with connection.open() as api:
        found = api.send("POST", f"{PATH}:preview", json=body)
        if only_preview and as_json:
            click.echo(json.dumps(found))
            return ExitCode.DONE
        count = _count(found)
        _print_preview(found, count)
        if only_preview or not found["matched"]:
            return ExitCode.DONE
        if not yes:
            click.confirm(f"{body['action'].capitalize()} {count}?", abort=True, err=True)
        # With a key: a response that was lost does not start a second one.
        headers = {"Idempotency-Key": f"cli-{uuid.uuid4()}"}
        started = api.send_again("POST", PATH, json=body, headers=headers)["id"]
        click.echo(f"{started} runs on the server; `calotype admin bulk stop {started}` stops it.", err=True)
        return _follow(api, started, as_json=as_json)


def _print_preview(found: dict[str, Any], count: str) -> None:
    click.echo(f"{count} match" if found["matched"] != 1 else "1 job matches", err=True)
    for job_id in found["job_ids"]:
        click.echo(f"  {job_id}", err=True)
    if not found["is_matched_exact"] or found["matched"] > len(found["job_ids"]):
        click.echo("  ...", err=True)


def _count(found: dict[str, Any]) -> str:
    jobs = "1 job" if found["matched"] == 1 else f"{found['matched']:,} jobs"
    return jobs if found["is_matched_exact"] else f"at least {jobs}"


def _follow(api: GatewayApi, bulk_action_id: str, *, as_json: bool) -> int:
    for action in _looks(api, bulk_action_id):
        click.echo(_progress(action), err=True)
    _print(action, as_json=as_json)
    return ExitCode.DONE if action["status"] == "finished" and not action["refused"] else ExitCode.FAILED


def _looks(api: GatewayApi, bulk_action_id: str) -> Iterator[dict[str, Any]]:
    """Yields a bulk action each time that it has advanced, the last time when it is over."""
    shown = None
    while True:
        action = api.send_again("GET", _path(bulk_action_id))
        if (progress := (action["status"], _progress(action))) != shown:
            yield action
        if action["status"] != "running":
            return
        shown = progress
        time.sleep(POLL_SECONDS)


def _progress(action: dict[str, Any]) -> str:
    matched = f"{'' if action['is_matched_exact'] else 'at least '}{action['matched']:,}"
    return f"{action['done']:,} of {matched} done, {action['skipped']:,} skipped, {action['refused']:,} refused"


def _print(action: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(action))
        return
    click.echo(f"{action['status']}: {_progress(action)}")
    if action["refusals"]:
        rows = [(refusal["reason"], f"{refusal['count']:,}", refusal["job_id"]) for refusal in action["refusals"]]
        print_table(("reason", "jobs", "first job"), rows)


def _path(bulk_action_id: str) -> str:
    return f"{PATH}/{quote(bulk_action_id, safe='')}"
