"""The memory of each service, in a stack that was just started."""

import sys
from pathlib import Path

import pytest

from tests.support.stacks.running_stack import running_stack

#: Bound of the private memory of the processes of a service, in KiB. After its start none has more than 60 MiB.
MOST = 80 * 1024
PROVIDERS = """
default: procedural
providers:
  - name: procedural
    kind: procedural
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def private_memory(pid: int) -> int:
    """KiB that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def test_a_service_takes_little_memory(tmp_path: Path) -> None:
    with running_stack(tmp_path / "stack", providers=PROVIDERS, settings={}) as stack:
        services = ["job", "generator", "uploader", "notifier", "gateway"]
        memory = {service: sum(map(private_memory, stack.pids[service])) for service in services}

    assert {service: taken for service, taken in memory.items() if taken > MOST} == {}
