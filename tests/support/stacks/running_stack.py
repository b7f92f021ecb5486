"""A whole embedded stack of a test's own, as `calotype up` runs it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.stack.state import StackState, read_state

ROOT = Path(__file__).parents[3]


@contextmanager
def running_stack(folder: Path, *, providers: str, settings: Mapping[str, str]) -> Iterator[StackState]:
    """Runs a stack with this provider file (its text) and these environment variables in a new folder."""
    folder.mkdir(parents=True)
    provider_file = folder.parent / f"{folder.name}-providers.yaml"
    provider_file.write_text(providers, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}", **settings}
    command = [sys.executable, "-m", "cli", "up", "--detach", "--http", "127.0.0.1:0", "--data", str(folder)]
    subprocess.run([*command, "--providers", str(provider_file)], env=environment, check=True, cwd=ROOT)
    try:
        state = read_state(folder)
        assert state is not None
        yield state
    finally:
        subprocess.run([sys.executable, "-m", "cli", "down", "--data", str(folder)], check=True, cwd=ROOT)
