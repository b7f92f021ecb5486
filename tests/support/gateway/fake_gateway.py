"""A gateway for commands: one job and an image over real HTTP; it can be stopped and started again on its port."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.patience import PATIENCE

JOB_ID = "job_01a219cfd96e713d9a3b5c7d9e1f2a4b"
PNG = b"\x89PNG\r\n\x1a\n pixels"


def job(status: str, title: str, **fields: Any) -> dict[str, Any]:
    """A job as the REST API has it, in the fields that commands read."""
    display = {"title": title, "message": f"{title}, it seems.", "percent": 10, "actions": fields.pop("actions", [])}
    common = {"id": JOB_ID, "status": status, "retry_count": 0, "display": display, "artifacts": [], "warnings": []}
    listed = {"created_at": "2026-11-26T21:43:01.123Z", "provider": "procedural", "request": {"prompt": "a lake"}}
    return common | listed | fields


def provider(name: str, formats: list[str]) -> dict[str, Any]:
    """A provider as the REST API has it, in the fields that commands read; `procedural` is the default."""
    models = [{"name": "plain", "capabilities": {"output_formats": []}}, {"name": "usual", "capabilities": None}]
    common = {"name": name, "kind": "procedural", "is_default": name == "procedural", "default_model": "usual"}
    return common | {"models": models, "capabilities": {"output_formats": formats}, "health": {"status": "ok"}}


class FakeGateway:
    """The responses of the gateway, and the bodies that it received, by method and path."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = job("queued", "In the queue")
        #: The formats that its provider makes; empty: it has no choice.
        self.formats: list[str] = []
        #: Idempotency keys that it received.
        self.keys: list[str | None] = []
        #: Responses to reads of other paths.
        self.contents: dict[str, Any] = {}
        #: Other jobs of its lists, after the job.
        self.others: list[dict[str, Any]] = []
        #: Token of a next page of each list, which is like the first.
        self.next_page_token: str | None = None
        #: Addresses of all reads, with their queries.
        self.reads: list[str] = []
        #: Problems by method and path: status and reason.
        self.problems: dict[tuple[str, str], tuple[int, str]] = {}
        self.bodies: dict[tuple[str, str], list[Any]] = {}
        #: Set while a stream of the job is open.
        self.is_followed = threading.Event()
        self._ending = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of last time."""
        gateway = self

        class Handler(_Handler):
            fake = gateway

        self._ending.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """End all streams and listen no more."""
        if self._server is None or self._thread is None:
            return
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)
        self._server = None
        self.is_followed.clear()

    def wait_for_end(self) -> None:
        """Wait until the gateway is stopped."""
        self._ending.wait(PATIENCE)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeGateway

    def do_GET(self) -> None:
        """Responds to a read."""
        path = self.path.partition("?")[0]
        self.fake.reads.append(self.path)
        if self._refuses("GET", path):
            return
        if path.endswith("/events"):
            self._stream()
        elif path == "/image":
            self._send(PNG, "image/png")
        elif path in self.fake.contents:
            self._send_json(self.fake.contents[path])
        elif path == "/v1/providers":
            self._send_json({"providers": [provider("procedural", self.fake.formats), provider("other", ["webp"])]})
        elif path == "/v1/jobs":
            self._send_json(self._page([self.fake.job, *self.fake.others]))
        elif path == "/v1/admin/jobs":
            self._send_json(self._page([{"job": job} for job in (self.fake.job, *self.fake.others)]))
        else:
            self._send_json(self.fake.job)

    def do_POST(self) -> None:
        """Responds to a submission or an action."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fake.keys.append(self.headers.get("Idempotency-Key"))
        self.fake.bodies.setdefault(("POST", self.path), []).append(json.loads(body))
        if not self._refuses("POST", self.path):
            self._send_json(self.fake.job)

    def do_DELETE(self) -> None:
        """Delete the job."""
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Logs nothing."""

    def _page(self, jobs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"jobs": jobs, "next_page_token": self.fake.next_page_token}

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for _ in range(2):
            self.wfile.write(f"event: job\nid: 1\ndata: {json.dumps(self.fake.job)}\n\n".encode())
        self.wfile.flush()
        if self.fake.job["status"] not in ("completed", "failed", "canceled"):
            self.fake.is_followed.set()
            self.fake.wait_for_end()

    def _refuses(self, method: str, path: str) -> bool:
        if (method, path) not in self.fake.problems:
            return False
        status, reason = self.fake.problems[method, path]
        self._send_json({"reason": reason, "detail": "say on_ambiguous: retry"}, status=status)
        return True

    def _send_json(self, content: Any, *, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), "application/json", status=status)

    def _send(self, body: bytes, content_type: str, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    """A gateway that runs until the end of the block."""
    gateway = FakeGateway()
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()
