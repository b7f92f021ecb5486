"""Frozen servers: they accept connections and never respond, the worst kind of outage."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cli.stack.state import read_state


@contextmanager
def frozen(folder: Path, name: str) -> Iterator[None]:
    """Stop all processes of that name of the folder's stack; they go on at the end of the block."""
    state = read_state(folder)
    assert state is not None
    processes = [process for pid in state.pids[name] for process in _family(psutil.Process(pid))]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]
