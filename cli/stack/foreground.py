"""Runs a stack in this process until a signal ends it; one stack per folder."""

import fcntl
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.errors import CommandFailed, ExitCode
from cli.stack.child import ChildError, StartInterrupted
from cli.stack.embedded import EmbeddedStack, Options
from cli.stack.options import url_of
from cli.stack.ports import NoFreePort, free_port, is_free
from cli.stack.private_folder import make_private
from cli.stack.state import StackState, read_state, stop_leftovers


class Signals:
    """Events of the signals that a user sends: the first sets `stop`, the second `hurry`."""

    def __init__(self) -> None:
        #: Set by the first signal: stop with grace.
        self.stop = threading.Event()
        #: Set by the second signal: stop without.
        self.hurry = threading.Event()

    def listen(self) -> None:
        """Handles SIGINT, SIGTERM and SIGHUP from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.receive())

    def receive(self) -> None:
        """Records that a signal came."""
        (self.hurry if self.stop.is_set() else self.stop).set()


def run(options: Options, report: Callable[[str], None], introduce: Callable[[StackState], None]) -> ExitCode:
    """Runs the stack until a signal stops it; calls `introduce` once it is ready. Raises `CommandFailed`."""
    with lock_folder(options.folder, report):
        stop_leftovers(options.folder, report)
        signals = Signals()
        signals.listen()
        stack = EmbeddedStack(options, address_for(options), report)
        began = time.monotonic()
        try:
            state = stack.start(signals.stop)
            report(f"ready at {stack.url} after {time.monotonic() - began:.1f} s; Ctrl-C stops it")
            introduce(state)
            stack.supervise(signals.stop)
        except StartInterrupted:
            return ExitCode.INTERRUPTED
        except (ChildError, NoFreePort) as error:
            raise CommandFailed(str(error)) from error
        finally:
            report("stopping: calls that are under way may end first; Ctrl-C again ends them now")
            stack.stop(signals.hurry)
            report("stopped; the data stays")
    return ExitCode.DONE


def address_for(options: Options) -> tuple[str, str]:
    """The address that the gateway listens at, and its URL. Raises `CommandFailed` when it cannot listen there."""
    host, port = options.http
    try:
        port = port or free_port()
        free = is_free(host.strip("[]"), port)
    except (OSError, NoFreePort) as error:
        raise CommandFailed(f"The gateway cannot listen on {host}:{port}: {error}", ExitCode.USAGE) from error
    if not free:
        raise CommandFailed(
            f"{host}:{port} is in use or not allowed; choose another: --http {host}:PORT", ExitCode.USAGE
        )
    return f"{host}:{port}", url_of(host, port)


@contextmanager
def lock_folder(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Locks the folder against other stacks, and closes it to other users. Raises `CommandFailed`."""
    make_private(folder, report)
    try:
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise CommandFailed(f"The folder {folder} cannot be used: {error.strerror}.", ExitCode.USAGE) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            state = read_state(folder)
            where = f" at {state.http}" if state else ""
            raise CommandFailed(
                f"A stack already runs in {folder}{where}; stop it with: calotype down", ExitCode.USAGE
            ) from None
        yield
