"""A stack of a benchmark's own, and what its processes use."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cli.stack.state import StackState, read_state

#: The provider file of a stack whose jobs go to the instant provider.
PROVIDERS = """
default: instant
providers:
  - name: instant
    kind: openai
    base_url: http://127.0.0.1:{port}
    api_key_env: INSTANT_KEY
    models: [{{name: m, price_micros_per_image: 1}}]
    max_concurrency: 64
"""
ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


@contextmanager
def stack() -> Iterator[tuple[StackState, Path]]:
    """A stack on free ports, and its folder; both go at the end."""
    with tempfile.TemporaryDirectory() as folder:
        cli = [sys.executable, "-P", "-m", "cli"]
        # With a key, as where jobs cost something.
        up = [*cli, "up", "--detach", "--require-auth", "--http", "127.0.0.1:0", "--data", folder]
        # What it prints is for people.
        subprocess.run(up, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            found = read_state(Path(folder))
            assert found is not None
            yield found, Path(folder)
        finally:
            subprocess.run([*cli, "down", "--data", folder], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


@contextmanager
def instant_provider(*, side: int = 0) -> Iterator[int]:
    """The port of the instant provider, a process of its own; `side` in pixels makes its image larger."""
    command = [sys.executable, "-P", "-m", "tests.benchmarks.instant_provider", *([str(side)] if side else [])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def stack_with_provider(*, side: int = 0) -> Iterator[tuple[StackState, Path]]:
    """A stack whose default provider answers at once."""
    with tempfile.TemporaryDirectory() as folder, instant_provider(side=side) as port:
        file = Path(folder) / "providers.yaml"
        file.write_text(PROVIDERS.format(port=port), encoding="utf-8")
        set_before = {name: os.environ.get(name) for name in ("CALOTYPE_PROVIDERS_FILE", "INSTANT_KEY")}
        os.environ |= {"CALOTYPE_PROVIDERS_FILE": str(file), "INSTANT_KEY": "key"}
        try:
            with stack() as running:
                yield running
        finally:
            for name, value in set_before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


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
