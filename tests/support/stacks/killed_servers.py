"""Killed servers: they end as in a crash, and the stack starts them again."""

import os
import signal

import psutil

from cli.stack.state import StackState
from tests.support.patience import PATIENCE


def kill(stack: StackState, name: str) -> None:
    """Ends all processes of that name as a crash would; the stack starts them again."""
    for pid in stack.pids[name]:
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([process], timeout=PATIENCE)
