"""Ends servers whose test run was killed: a process that reads from the run until it is gone."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO

#: `+1` and `-1` note and forget a process; the end of the input is the end of the run.
CODE = """
import os, signal, sys
left = set()
for line in sys.stdin:
    (left.add if line[0] == "+" else left.discard)(int(line[1:]))
for pid in left:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
"""


@contextmanager
def reaped(pid: int) -> Iterator[None]:
    """Within the block, the process is ended should this run be killed; after it, its number is another's."""
    _send(f"+{pid}")
    try:
        yield
    finally:
        _send(f"-{pid}")


def _send(line: str) -> None:
    listener = _listener()
    listener.write(f"{line}\n")
    listener.flush()


@cache
def _listener() -> IO[str]:
    """Returns the listener of this run, in a session of its own: Ctrl-C and the run's end must not end it."""
    process = subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdin is not None
    # It ends after this process; so no process waits for it.
    process.returncode = 0
    return process.stdin
