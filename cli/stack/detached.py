"""Runs a stack in a separate process, and returns when it is ready."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from cli.errors import CommandFailed, ExitCode
from cli.stack import variables
from cli.stack.child import LARGEST_LOG
from cli.stack.embedded import Options
from cli.stack.private_folder import make_private
from cli.stack.services import SERVICES, source_path, tuning_of
from cli.stack.state import StackState, find_supervisor, read_state, stop_leftovers

#: Longer than all its programs together may take to start; a stack that ends is reported at once.
START_SECONDS = 600.0
#: Seconds that stopping may take: a little longer than the services' own grace.
STOP_SECONDS = 750.0


def start(options: Options, report: Callable[[str], None] = lambda line: None) -> StackState:
    """Starts the stack and waits until it is ready. Raises `CommandFailed`; a stack that takes too long is stopped."""
    make_private(options.folder, report)
    log = options.folder / "logs" / "stack.log"
    try:
        log.parent.mkdir(exist_ok=True, mode=0o700)
        mode = "wb" if log.exists() and log.stat().st_size > LARGEST_LOG else "ab"
        with open(log, mode, opener=_private) as out:
            began = out.tell()
            process = _spawn(options, out.fileno())
    except OSError as error:
        raise CommandFailed(f"The folder {options.folder} cannot be used: {error.strerror}.", ExitCode.USAGE) from error
    try:
        return _wait(process, options.folder, log, began)
    except BaseException:
        # Also at Ctrl-C nothing is left behind.
        process.send_signal(signal.SIGTERM)
        raise


def stop(folder: Path, report: Callable[[str], None] = lambda line: None) -> bool:
    """Stops the folder's stack, or what a killed stack left; returns whether a stack ran. Raises `CommandFailed`."""
    supervisor = find_supervisor(folder)
    if supervisor is None:
        if folder.exists():
            stop_leftovers(folder, report)
        return False
    with suppress(psutil.NoSuchProcess):
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            message = f"The stack is still stopping; `calotype status --data {folder}` shows what runs."
            raise CommandFailed(message) from None
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _spawn(options: Options, out: int) -> subprocess.Popen[bytes]:
    host, port = options.http
    command = [sys.executable, "-P", "-m", "cli", "up", "--http", f"{host}:{port}", "--data", str(options.folder)]
    command.append("--print-no-keys")
    if options.providers:
        command += ["--providers", str(options.providers)]
    if options.replicas:
        command += ["--replicas", ",".join(f"{name}={count}" for name, count in options.replicas.items())]
    if options.require_auth:
        command.append("--require-auth")
    tuning = frozenset().union(*(tuning_of(service) for service in SERVICES))
    inherited = variables.of_service(os.environ, tuning | variables.of_providers(options.providers))
    environment = inherited | {"PYTHONPATH": source_path(os.environ), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
    )


def _wait(process: subprocess.Popen[bytes], folder: Path, log: Path, began: int) -> StackState:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        supervisor = find_supervisor(folder)
        if supervisor is not None and supervisor.pid == process.pid and (state := read_state(folder)):
            return state
        try:
            code = process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise CommandFailed(_cause_of_end(log, began), ExitCode.USAGE if code == ExitCode.USAGE else ExitCode.FAILED)
    raise CommandFailed(f"The stack was not ready after {START_SECONDS:.0f} s; see {log}")


def _cause_of_end(log: Path, began: int) -> str:
    """The last error that the stack logged after the byte `began`, else its last line."""
    lines = log.read_bytes()[began:].decode("utf-8", errors="replace").strip().splitlines()
    errors = [line.removeprefix("calotype: ") for line in lines if line.startswith("calotype: ")]
    return (errors or lines or [f"The stack ended at once; see {log}"])[-1]
