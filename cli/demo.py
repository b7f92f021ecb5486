"""`make demo`: starts a stack in a folder for demos, makes one image, and stops the stack."""

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
IMAGE = Path("out") / "demo.png"
#: Seconds that the job may take; an image takes about one.
JOB_SECONDS = 120
PROMPT = "a lighthouse on a rocky coast at dusk, calm sea, first stars"


@click.command(hidden=True)
def demo() -> int:
    """Start a stack, make one image, stop the stack."""
    signal.signal(signal.SIGTERM, _interrupt)
    with _lock_folder(FOLDER.resolve()) as folder:
        return _run(folder)


def _run(folder: Path) -> int:
    _report("starting PostgreSQL, NATS, object storage and the services on free ports of this machine")
    began = time.monotonic()
    options = Options(
        folder=folder, http=("127.0.0.1", 0), providers=None, replicas={}, require_auth=False, grace_seconds=60
    )
    try:
        state = detached.start(options)
        _report(f"the studio is at {state.http}/ until this ends; ready after {time.monotonic() - began:.1f} s")
        _report(f"one job: {PROMPT}")
        code = _generate(state)
    finally:
        # A second Ctrl-C must not leave anything running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        detached.stop(folder)
    if code == ExitCode.DONE:
        _report(f"the stack is stopped; the image is {IMAGE}; `make up` starts the studio and leaves it running")
    else:
        _report(f"logs: {folder / 'logs'}")
    return code


def _generate(state: StackState) -> int:
    IMAGE.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "cli", "generate", PROMPT, "--provider", "procedural", "-o", str(IMAGE)]
    connection = {"CALOTYPE_URL": state.http, "CALOTYPE_API_KEY": state.api_key, "PYTHONPATH": source_path(os.environ)}
    try:
        return subprocess.run(command, env=dict(os.environ) | connection, check=False, timeout=JOB_SECONDS).returncode
    except subprocess.TimeoutExpired:
        _report(f"the job did not end within {JOB_SECONDS} s")
        return ExitCode.FAILED


@contextmanager
def _lock_folder(folder: Path) -> Iterator[Path]:
    """Locks the folder and stops what a killed demo left there. Raises `CommandFailed` while another demo runs."""
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


def _report(line: str) -> None:
    click.echo(line, err=True)
