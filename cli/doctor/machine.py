"""Checks the machine: Python, the servers' binaries, disk space, the default port."""

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


def examine(data: Path, *, needs_port: bool) -> Iterator[Finding]:
    """Yields all findings; `needs_port` is whether a stack could be started now, on the default port."""
    yield python(sys.version_info[:2])
    yield from binaries()
    existing = next(folder for folder in (data, *data.parents) if folder.exists())
    yield disk(shutil.disk_usage(existing).free, existing)
    if needs_port:
        yield port(8080)


def python(version: tuple[int, ...]) -> Finding:
    """Whether the project is tested with this version of Python."""
    text = ".".join(map(str, version))
    if OLDEST <= version <= NEWEST:
        return ok(f"Python {text}")
    return fail(f"Python {text} is not supported", "install 3.11 to 3.14, then: make clean up")


def binaries() -> Iterator[Finding]:
    """Whether the servers are installed."""
    for name, find in BINARIES.items():
        try:
            binary = find()
        except ChildError as error:
            yield fail(f"{name} is missing: {error}", "run: make clean up")
            continue
        yield ok(f"{name} is installed") if binary.exists() else fail(f"{binary} is missing", "run: make clean up")


def disk(free: int, folder: Path) -> Finding:
    """Whether there is room for data and images; `free` is in bytes."""
    fact = f"{free / GIGABYTE:.1f} GB free at {folder}"
    if free < GIGABYTE:
        return fail(fact, "free some space: below 1 GB the database may stop")
    return warn(fact, "free some space soon") if free < 5 * GIGABYTE else ok(fact)


def port(number: int) -> Finding:
    """Whether a server can listen on a port."""
    if is_free("127.0.0.1", number):
        return ok(f"port {number} is free")
    return warn(f"port {number} is in use", "choose another: calotype up --http 127.0.0.1:PORT")
