"""Faults of a running stack's object store: it refuses writes, or it is away."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from cli.stack.state import StackState, read_state
from cli.stack.storage import storage_ok
from tests.support.patience import PATIENCE
from tests.support.stacks.killed_servers import kill

_READING = ["list", "read"]


@contextmanager
def refusing_writes(folder: Path) -> Iterator[None]:
    """Lets the store refuse all writes (403) within the block; `folder` is the stack's."""
    file = folder / "storage" / "access.json"
    before = file.read_text(encoding="utf-8")
    access = json.loads(before)
    access["buckets"][BUCKET]["grants"]["uploader"] = _READING
    access["buckets"][STAGING_BUCKET]["grants"]["generator"] = _READING
    file.write_text(json.dumps(access), encoding="utf-8")
    try:
        _restart(folder)
        yield
    finally:
        file.write_text(before, encoding="utf-8")
        _restart(folder)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Lets the store refuse connections within the block: it cannot start."""
    file = folder / "storage" / "access.json"
    aside = file.rename(file.with_suffix(".aside"))
    try:
        kill(_state(folder), "storage")
        yield
    finally:
        aside.rename(file)
        _wait_until_ready(_state(folder))


def _restart(folder: Path) -> None:
    state = _state(folder)
    kill(state, "storage")
    _wait_until_ready(state)


def _state(folder: Path) -> StackState:
    state = read_state(folder)
    assert state is not None
    return state


def _wait_until_ready(state: StackState) -> None:
    deadline = time.monotonic() + PATIENCE
    while not storage_ok(state.storage_url):
        assert time.monotonic() < deadline, "the object store does not start"
        time.sleep(0.1)
