"""Show a job's way on standard error: a bar for people, a line per change for logs."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.errors import ExitCode

OUTCOMES = {"completed": ExitCode.DONE, "failed": ExitCode.FAILED, "canceled": ExitCode.FAILED}


def show(updates: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Show updates until the last; returns the job as it was then."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    job: dict[str, Any] = {}
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("submitted", total=100)
        for kind, data in updates:
            if kind == "progress":
                bar.update(task, completed=float(data.get("percent") or 0))
                continue
            job = data
            display = job["display"]
            bar.update(task, description=display["title"], completed=display["percent"] or 0)
            if not console.is_terminal:
                console.print(f"{job['status']}: {display['title']}", highlight=False)
    return job


def tell_end(job: dict[str, Any]) -> ExitCode:
    """Say why a job did not bring pictures; returns the exit code."""
    console = Console(stderr=True)
    if job["status"] == "failed":
        error = job["error"]
        console.print(f"failed while {job['failure_stage']}: {error['reason']}: {error['message']}", highlight=False)
    elif job["status"] == "canceled":
        console.print("canceled", highlight=False)
    for warning in job["warnings"]:
        console.print(f"warning: {warning['message']}", highlight=False)
    return OUTCOMES.get(job["status"], ExitCode.DONE)
