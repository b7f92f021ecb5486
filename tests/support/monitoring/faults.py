"""Faults for alerts: a row that a transaction holds, a process with a certificate that expires soon."""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2

from cli.stack.child import Child, Program
from tests.support.patience import PATIENCE
from tests.support.security.certificates import Authority
from tests.support.servers.reaper import reaped

ROOT = Path(__file__).parents[3]
#: An address at which nobody listens.
NOWHERE = "127.0.0.1:1"
_ADMIN = re.compile(r'^\{.*"admin\.opened".*\}$', re.MULTILINE)


@contextmanager
def held_row(database_url: str, table: str, row_id: str, *, change: str, undo: str) -> Iterator[None]:
    """Changes a row, and holds its lock until the end of the block, so that no service acts on it; then undoes it."""
    where = f"WHERE id = '{row_id}'"
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {change} {where}")
        assert cursor.rowcount == 1
        connection.commit()
        cursor.execute(f"SELECT FROM {table} {where} FOR UPDATE")
        try:
            yield
        finally:
            cursor.execute(f"UPDATE {table} SET {undo} {where}")
            connection.commit()


@contextmanager
def certified_gateway(folder: Path) -> Iterator[str]:
    """Runs a gateway whose certificate expires in an hour, without the rest of a stack; yields where to scrape it."""
    leaf = Authority(folder).give("gateway")
    keys, log = folder / "keys.yaml", folder / "gateway.log"
    keys.write_text("tenants: []\n", encoding="utf-8")
    settings = {
        "HTTP_LISTEN": "127.0.0.1:0",
        "ADMIN_LISTEN": "127.0.0.1:0",
        "JOB_ADDRESS": NOWHERE,
        "NOTIFIER_ADDRESS": NOWHERE,
        "API_KEYS_FILE": str(keys),
        "GRPC_TLS_CERT_FILE": str(leaf.certificate),
        "GRPC_TLS_KEY_FILE": str(leaf.key),
        "GRPC_TLS_CA_FILE": str(leaf.authority),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    environment |= {f"CALOTYPE_{name}": value for name, value in settings.items()}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    child = Child(
        Program(
            name="certified gateway",
            command=(sys.executable, "-m", "gateway"),
            environment=environment,
            log=log,
            is_ready=lambda: _ADMIN.search(log.read_text(encoding="utf-8")) is not None,
        )
    )
    child.start()
    with reaped(child.pid):
        try:
            child.wait_ready(PATIENCE)
            found = _ADMIN.search(log.read_text(encoding="utf-8"))
            assert found is not None
            opened = json.loads(found[0])
            yield f"{opened['host']}:{opened['port']}"
        finally:
            child.stop(PATIENCE)


class _Accepting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def accepting_receiver() -> Iterator[str]:
    """A receiver of webhooks that takes each one; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Accepting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
