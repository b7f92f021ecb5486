"""What large blocks leave behind in a process of its own."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MIB = 1024 * 1024
#: A first large block, then many with small ones between them, then the large ones go.
SCRIPT = f"""
import psutil
from gateway.http.malloc import return_large_blocks
{{call}}
def resident():
    return psutil.Process().memory_info().rss
bytearray(24 * {MIB})
before, large, small = resident(), [], []
for _ in range(40):
    large.append(bytearray(4 * {MIB}))
    small.append(bytearray(100_000))
del large
print((resident() - before) // {MIB})
"""


def _left(call: str) -> int:
    """MiB that stay."""
    command = [sys.executable, "-c", SCRIPT.format(call=call)]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_large_blocks_go_back_to_the_system() -> None:
    assert _left("return_large_blocks()") < 20 < 100 < _left("")
