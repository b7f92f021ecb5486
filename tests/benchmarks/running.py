"""A stack of a benchmark's own, and what its processes use."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cli.stack.state import StackState, read_state

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


@contextmanager
def stack() -> Iterator[tuple[StackState, Path]]:
    """A stack on free ports, and its folder; both go at the end."""
    with tempfile.TemporaryDirectory() as folder:
        cli = [sys.executable, "-P", "-m", "cli"]
        # With a key, as where jobs cost something.
        up = [*cli, "up", "--detach", "--require-auth", "--http", "127.0.0.1:0", "--data", folder]
        subprocess.run(up, check=True, cwd=ROOT)
        try:
            found = read_state(Path(folder))
            assert found is not None
            yield found, Path(folder)
        finally:
            subprocess.run([*cli, "down", "--data", folder], check=True, cwd=ROOT)


def bearer(stack: StackState) -> dict[str, str]:
    """The header that shows the key of the tenant `default`."""
    return {"Authorization": f"Bearer {stack.api_key}"}


@contextmanager
def suspended(stack: StackState, name: str) -> Iterator[None]:
    """Keep all processes of that name from doing anything."""
    processes = [psutil.Process(pid) for pid in stack.pids[name]]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def resident(stack: StackState, name: str) -> float:
    """Memory in MiB of the processes of that name."""
    return sum(psutil.Process(pid).memory_info().rss for pid in stack.pids[name]) / MIB
