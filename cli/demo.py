"""`make demo`: a stack of its own, one job, one picture, and everything stopped again."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli.errors import CommandFailed, ExitCode
from cli.stack import detached
from cli.stack.embedded import Options
from cli.stack.services import source_path
from cli.stack.state import StackState

FOLDER = Path(".calotype-demo")
PICTURE = Path("out") / "demo.png"
#: Seconds; a picture takes about one.
LONGEST_JOB = 120
PROMPT = "a lighthouse on a rocky coast at dusk, calm sea, first stars"


@click.command(hidden=True)
def demo() -> int:
    """Start a stack of its own, make one picture, stop the stack."""
    signal.signal(signal.SIGTERM, _interrupt)
    with _alone(FOLDER.resolve()) as folder:
        return _show(folder)


def _show(folder: Path) -> int:
    _say("starting PostgreSQL, NATS, object storage and the services on free ports of this machine")
    began = time.monotonic()
    options = Options(
        folder=folder, http=("127.0.0.1", 0), providers=None, replicas={}, require_auth=False, grace_seconds=60
    )
    try:
        state = detached.start(options)
        _say(f"ready at {state.http} after {time.monotonic() - began:.1f} s; one job: {PROMPT}")
        code = _generate(state)
    finally:
        # A second Ctrl-C must not leave anything running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        detached.stop(folder)
    _say(f"the stack is stopped; the picture is {PICTURE}" if code == ExitCode.DONE else f"logs: {folder / 'logs'}")
    return code


def _generate(state: StackState) -> int:
    command = [sys.executable, "-P", "-m", "cli", "generate", PROMPT, "--provider", "procedural", "-o", str(PICTURE)]
    reach = {"CALOTYPE_URL": state.http, "CALOTYPE_API_KEY": state.api_key, "PYTHONPATH": source_path(os.environ)}
    try:
        return subprocess.run(command, env=dict(os.environ) | reach, check=False, timeout=LONGEST_JOB).returncode
    except subprocess.TimeoutExpired:
        _say(f"the job did not end within {LONGEST_JOB} s")
        return ExitCode.FAILED


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """Wait for no other demo: refuse beside one that runs, stop the stack of one that was killed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed("Another demo runs in this folder.", ExitCode.USAGE) from None
        detached.stop(folder)
        yield folder


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    click.echo(line, err=True)
