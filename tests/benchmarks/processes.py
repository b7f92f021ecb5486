"""Processor time and memory of processes, by name; imports nothing of the project."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import psutil

MIB = 1024 * 1024


def processor_times(pids: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Processor seconds so far of processes and their children, by name; children that ended do not count."""

    def seconds(process: psutil.Process) -> float:
        times = process.cpu_times()
        return times.user + times.system

    return {name: _sum(of_name, seconds) for name, of_name in pids.items()}


def memory(pids: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Resident memory in MiB of processes and their children, by name; pages that they share count for each."""
    return {name: _sum(of_name, lambda process: process.memory_info().rss / MIB) for name, of_name in pids.items()}


def _sum(pids: Sequence[int], measured: Callable[[psutil.Process], float]) -> float:
    found = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            # A child may have ended since.
            with suppress(psutil.NoSuchProcess):
                found += measured(each)
    return found
