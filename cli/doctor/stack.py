"""Checks a stack: its processes, the broker's durability, the buckets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from cli.doctor.findings import Finding, fail, ok, warn
from cli.stack import nats, storage
from cli.stack.readiness import Row, check
from cli.stack.state import StackState, names_of


def examine(state: StackState, data: Path) -> Iterator[Finding]:
    """Yields all findings about a running stack; `data` is its folder."""
    yield from (process(row, data) for row in check(state))
    yield broker(nats.writes_each_message(state.nats_monitor_url))
    for bucket, writer in ((state.bucket, "uploader"), (state.staging_bucket, "generator")):
        if storage.may_list(state.storage_url, bucket, state.storage_tokens[writer]):
            yield ok(f"bucket {bucket} can be reached")
        else:
            yield fail(f"bucket {bucket} cannot be reached", "restart the stack: calotype down, then calotype up")


def killed(leftovers: Sequence[tuple[str, psutil.Process]]) -> Finding:
    """The finding about a stack whose supervisor was killed and whose other processes still run."""
    return fail(
        f"the stack was killed, and left processes that still run: {names_of(leftovers)}",
        "calotype up stops them and starts the stack again; calotype down only stops them",
    )


def process(row: Row, data: Path) -> Finding:
    """Whether a process is ready."""
    if row.ready:
        return ok(f"{row.name} is ready")
    state = "is not ready" if row.alive else "ended"
    why = f": {row.why}" if row.why else ""
    return fail(f"{row.name} {state}{why}", f"calotype up starts it again; if it does not, see {data / 'logs'}")


def broker(writes_each_message: bool | None) -> Finding:
    """Whether a message that the broker confirmed survives a loss of power; None is no response from the broker."""
    if writes_each_message is None:
        return fail("the broker does not report its settings", "calotype up starts it again; run this again")
    if writes_each_message:
        return ok("NATS writes each message to disk before it confirms")
    return warn("NATS confirms before it writes to disk", "set jetstream sync_interval: always, or run three replicas")
