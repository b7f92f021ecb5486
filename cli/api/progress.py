"""Follows a job on standard error: a bar on a terminal, a line per change in a log, and how the job ended."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.api.client import GatewayApi, Unreachable
from cli.errors import CommandFailed, ExitCode

OUTCOMES = {"completed": ExitCode.DONE, "failed": ExitCode.FAILED, "canceled": ExitCode.FAILED}


def follow(api: GatewayApi, job_id: str, *, on_interrupt: Callable[[], None] | None = None) -> dict[str, Any]:
    """Shows a job until it is final; returns it as it is then.

    Ctrl-C calls `on_interrupt`, which may raise an error of its own. Raises `CommandFailed` that says how to go on.
    """
    resume = f"The job goes on; watch it with: calotype jobs watch {job_id}"
    try:
        show(api.watch(job_id))
        return api.get(job_id)
    except KeyboardInterrupt:
        if on_interrupt is not None:
            on_interrupt()
        raise CommandFailed(resume, ExitCode.INTERRUPTED) from None
    except Unreachable as error:
        raise Unreachable(f"{error.message} {resume}") from error


def show(updates: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Shows updates (`GatewayApi.watch`) until the last."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    last_line = ""
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("submitted", total=100)
        for kind, data, position in with_positions(updates):
            bar.update(task, completed=position)
            if kind == "progress":
                continue
            title = data["display"]["title"]
            bar.update(task, description=title)
            line = f"{data['status']}: {title}"
            if not console.is_terminal and line != last_line:
                click.echo(line, err=True)
            last_line = line


def with_positions(updates: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yields updates with the position of the bar, 0 to 100, which only a user's retry moves back.

    The API's own position begins anew when the gateway restarts.
    """
    furthest, retry_count = 0.0, 0
    for kind, data in updates:
        if kind != "progress" and data["retry_count"] > retry_count:
            furthest, retry_count = 0.0, data["retry_count"]
        percent = (data if kind == "progress" else data["display"])["percent"]
        furthest = max(furthest, float(percent or 0))
        yield kind, data, furthest


def report_end(job: dict[str, Any]) -> ExitCode:
    """Reports why a final job has no images, and its warnings; returns the exit code."""
    identity, status = job["id"], job["status"]
    if status == "failed":
        error = job["error"]
        reason = f"{error['reason']}: {error['message']}"
        click.echo(f"{identity} failed while {job['failure_stage']}: {reason}", err=True)
        if advice := _retry_advice(job):
            click.echo(advice, err=True)
    elif status == "canceled":
        click.echo(f"{identity} was canceled", err=True)
    for warning in job["warnings"]:
        click.echo(f"warning: {warning['message']}", err=True)
    return OUTCOMES.get(status, ExitCode.DONE)


def _retry_advice(job: dict[str, Any]) -> str:
    """The command that retries a failed job; empty where the job allows no retry."""
    actions, command = job["display"]["actions"], f"calotype jobs retry {job['id']}"
    if "retry" in actions:
        return f"Try again with: {command}"
    if "retry_may_charge_again" in actions:
        return f"Try again, though it may be charged twice, with: {command} --pay-again"
    return ""
