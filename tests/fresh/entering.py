"""Commands inside a system: what is called on this machine, with which rights, and for how long."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ENTER = Path(__file__).with_name("enter.sh")
#: What root in a container has unless it asks for more.
CAPABILITIES = (
    "chown", "dac_override", "fsetid", "fowner", "mknod", "net_raw", "setgid", "setuid", "setfcap", "setpcap",
    "net_bind_service", "sys_chroot", "kill", "audit_write",
)  # fmt: skip
#: How a command is called inside, by the rights that it gets.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "machine": (),
    "container": ("setpriv", f"--bounding-set=-all,{','.join(f'+{one}' for one in CAPABILITIES)}", "--inh-caps=-all"),
}
#: New namespaces end with this program, however it ends, and all their processes and mounts with them.
ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
PROGRAMS = {"debootstrap": "debootstrap", "git": "git", "setpriv": "util-linux", "unshare": "util-linux"}


def missing() -> str | None:
    """What this machine lacks, in one line."""
    if not Path("/proc/self/ns").exists():
        return "Linux is needed"
    if os.geteuid() != 0:
        return "root is needed, to install systems and to mount: sudo make fresh"
    if lacking := sorted({package for name, package in PROGRAMS.items() if shutil.which(name) is None}):
        return f"missing: {' '.join(lacking)}; apt-get install them"
    trial = [*ALONE, "mount", "--bind", "/proc", "/proc"]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        return "the right to mount is needed (CAP_SYS_ADMIN); a container has it only if it is privileged"
    return None


def entered(system: Path, lists: Path, command: Sequence[str], *, rights: str, environ: Mapping[str, str]) -> list[str]:
    """The command line that runs a command inside a system."""
    inside = ["env", "-i", *(f"{name}={value}" for name, value in environ.items()), *RIGHTS[rights], *command]
    return [*ALONE, "sh", str(ENTER), str(system), str(lists), *inside]


def finished(command: Sequence[str], *, log: Path, limit: float) -> tuple[int | None, float]:
    """Run a command line, its output in a file: exit code, or None if it ran out of time; and seconds."""
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    # In a session of its own: Ctrl-C ends this program, and the command with it.
    with log.open("wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:  # fmt: skip
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
    return code, time.monotonic() - began
