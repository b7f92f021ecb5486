"""A real browser on a page of the tests' own server; the page's reports arrive in a queue."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.required_tools import need

_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server with files by path; a page posts its reports to `/told`, as JSON."""

    origin: str
    reports: "queue.Queue[Any]" = field(default_factory=queue.Queue)


def _handler(files: Mapping[str, str], reports: "queue.Queue[Any]") -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = files.get(self.path)
            self.send_response(200 if text is not None else 404)
            self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html")
            self.end_headers()
            self.wfile.write((text or "").encode())

        def do_POST(self) -> None:
            reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    return Handler


@contextmanager
def site(files: Mapping[str, str]) -> Iterator[Site]:
    """The server, on a free port of this machine."""
    reports: queue.Queue[Any] = queue.Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(files, reports)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield Site(origin=f"http://localhost:{server.server_address[1]}", reports=reports)
        server.shutdown()
        thread.join()


@contextmanager
def browsing(address: str, profile: Path) -> Iterator[None]:
    """Chromium with the page open."""
    chromium = need("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    command = [chromium, *_OPTIONS, f"--user-data-dir={profile}", address]
    # It waits for no input, and what it prints is about the machine rather than the page.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as it:
        try:
            yield
        finally:
            it.terminate()
