"""The memory of each service, in a stack that has little to do."""

import sys
from pathlib import Path

import pytest

from cli.stack.state import StackState

#: Bound of the private memory of one process, in KiB. Before the first job, job-service has 55 MiB, and no other more.
MOST = 90 * 1024

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("service", ["job", "generator", "uploader", "notifier", "gateway"])
def test_a_service_takes_little_memory(stack: StackState, service: str) -> None:
    for pid in stack.pids[service]:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        assert sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) < MOST
