"""Examines a running stack: its processes, what the broker confirms, the buckets."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.doctor.findings import Finding, fail, ok
from cli.stack.ports import Ports
from cli.stack.probes import http_ok
from cli.stack.readiness import Row, look
from cli.stack.state import StackState


def examine(state: StackState, data: Path) -> Iterator[Finding]:
    """Everything about the stack."""
    yield from (process(row, data) for row in look(state))
    yield broker(monitor_report(data))
    for bucket in (state.bucket, state.staging_bucket):
        if http_ok(f"{state.storage_url}/storage/v1/b/{bucket}"):
            yield ok(f"bucket {bucket} can be reached")
        else:
            yield fail(f"bucket {bucket} cannot be reached", "restart the stack: calotype down, then calotype up")


def process(row: Row, data: Path) -> Finding:
    """Whether a process does its work."""
    if row.alive and row.ready is not False:
        return ok(f"{row.name} is ready" if row.ready else f"{row.name} runs")
    word = "is not ready" if row.alive else "ended"
    return fail(f"{row.name} {word}", f"it is started again by itself; if not, see {data / 'logs'}")
