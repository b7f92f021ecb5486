"""A test run that is killed leaves no server behind."""

import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
RUN = """
import subprocess, sys, time
from tests.support.servers.reaper import reaped
server = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with reaped(server.pid):
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_servers_of_a_killed_run_are_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        server = psutil.Process(int(run.stdout.readline()))
        run.kill()

    gone, _ = psutil.wait_procs([server], timeout=PATIENCE)

    assert gone == [server]
