"""Examines a running stack: its processes, what the broker confirms, the buckets."""

from collections.abc import Iterator
from pathlib import Path

from cli.doctor.findings import Finding, fail, ok, warn
from cli.stack import nats, storage
from cli.stack.readiness import Row, look
from cli.stack.state import StackState


def examine(state: StackState, data: Path) -> Iterator[Finding]:
    """Everything about the stack."""
    yield from (process(row, data) for row in look(state))
    yield broker(nats.writes_each_message(state.nats_monitor_url))
    for bucket, writer in ((state.bucket, "uploader"), (state.staging_bucket, "generator")):
        if storage.may_list(state.storage_url, bucket, state.storage_tokens[writer]):
            yield ok(f"bucket {bucket} can be reached")
        else:
            yield fail(f"bucket {bucket} cannot be reached", "restart the stack: calotype down, then calotype up")


def process(row: Row, data: Path) -> Finding:
    """Whether a process does its work."""
    if row.alive and row.ready is not False:
        return ok(f"{row.name} is ready" if row.ready else f"{row.name} runs")
    word = "is not ready" if row.alive else "ended"
    return fail(f"{row.name} {word}", f"it is started again by itself; if not, see {data / 'logs'}")


def broker(writes_each_message: bool | None) -> Finding:
    """Whether a message that the broker confirmed survives a loss of power."""
    if writes_each_message is None:
        return fail("the broker does not tell its settings", "it is started again by itself; look again")
    if writes_each_message:
        return ok("NATS writes each message to disk before it confirms")
    return warn("NATS confirms before it writes to disk", "set jetstream sync_interval: always, or run three replicas")
