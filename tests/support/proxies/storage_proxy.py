"""A proxy of object storage that injects faults into the next requests of a kind.

Each service has its own URL (a port), which adds the service's credential: set STORAGE_EMULATOR_HOST to it. The open
URL adds none, so that each caller sends its own token.
"""

import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import STORAGE_TOKENS, new_buckets

_OBJECT = r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
#: Kinds of requests, by method and path; the first match counts.
_KINDS = (
    ("rewrite", "POST", re.compile(rf"^{_OBJECT}/rewriteTo/")),
    ("upload", "POST", re.compile(r"^/upload/storage/v1/b/(?P<bucket>[^/]+)/o$")),
    ("upload", "PUT", re.compile(r"^/upload/storage/v1/b/(?P<bucket>[^/]+)/o$")),
    ("list", "GET", re.compile(r"^/storage/v1/b/(?P<bucket>[^/]+)/o$")),
    ("read", "GET", re.compile(rf"^(?:/download)?{_OBJECT}$")),
    ("delete", "DELETE", re.compile(rf"^{_OBJECT}$")),
    ("read", "GET", re.compile(r"^/(?!storage/|upload/|download/)(?P<bucket>[^/]+)/(?P<name>.+)$")),
)
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class Fault(Enum):
    """What can go wrong between a client and the store."""

    UNAVAILABLE = auto()
    """503, nothing done."""
    HANG_UP = auto()
    """The connection breaks, nothing done."""
    LOSE_RESPONSE = auto()
    """It is done, and the connection breaks before the answer."""
    HOLD = auto()
    """Nothing happens until `release`."""


@dataclass(frozen=True, kw_only=True)
class StorageRequest:
    """One request: what of which object."""

    kind: str
    bucket: str
    name: str


class StorageProxy:
    """The way to a store; `urls` gives each identity's URL."""

    def __init__(self, upstream: str, *, public: str, staging: str) -> None:
        self.upstream = upstream
        self.public, self.staging = public, staging
        self.urls: dict[str, str] = {}
        self.requests: list[StorageRequest] = []
        self._done: list[StorageRequest] = []
        self.client = httpx.Client(base_url=upstream, trust_env=False, timeout=PATIENCE)
        self._faults: list[tuple[str, Fault]] = []
        self._away: Fault | None = None
        self._held = threading.Event()
        self._changed = threading.Condition()

    @property
    def open_url(self) -> str:
        """The URL that adds no credential."""
        return self.urls["open"]

    def order(self, fault: Fault, *, on: str, times: int = 1) -> None:
        """Let the next requests of a kind meet a fault."""
        self._faults += [(on, fault)] * times

    def go_away(self, how: Fault = Fault.UNAVAILABLE) -> None:
        """Fail everything until `come_back`."""
        self._away = how

    def come_back(self) -> None:
        """Serve again."""
        self._away = None

    def release(self) -> None:
        """Let what is held go on."""
        self._held.set()

    def count(self, kind: str) -> int:
        """How many requests of a kind came."""
        return sum(request.kind == kind for request in self.requests)

    def count_done(self, kind: str) -> int:
        """How many requests of a kind the store carried out."""
        return sum(request.kind == kind for request in self._done)

    def note_done(self, request: StorageRequest) -> None:
        """Records a request that the store carried out."""
        self._done.append(request)

    def wait_for(self, kind: str, *, times: int = 1) -> None:
        """Waits until that many requests of a kind arrived."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.count(kind) >= times, timeout=PATIENCE)
        assert came, f"{kind} was not requested {times} times: {self.requests}"

    def note(self, request: StorageRequest) -> Fault | None:
        """Records a request; returns the fault that it gets."""
        with self._changed:
            self.requests.append(request)
            ordered = next((order for order in self._faults if order[0] == request.kind), None)
            if ordered is not None:
                self._faults.remove(ordered)
            self._changed.notify_all()
        fault = self._away or (ordered[1] if ordered else None)
        if fault is Fault.HOLD:
            assert self._held.wait(PATIENCE), "the request was not released"
            return None
        return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that close the connection within a request."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One identity's way in."""

    protocol_version = "HTTP/1.1"
    proxy: StorageProxy
    identity: str | None
    url: str

    def log_message(self, *arguments: object) -> None:
        """Logs nothing."""

    def do_GET(self) -> None:
        """Any request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self._storage_request(body)
        fault = self.proxy.note(request)
        if fault is Fault.HANG_UP:
            self._hang_up()
        elif fault is Fault.UNAVAILABLE:
            self._refuse(503, "backendError")
        else:
            response = self._forward(body)
            if response.is_success:
                self.proxy.note_done(request)
            if fault is Fault.LOSE_RESPONSE:
                self._hang_up()
            else:
                self._send_response(response)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that the library calls

    def _storage_request(self, body: bytes) -> StorageRequest:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        kinds = ((kind, path.match(address.path)) for kind, method, path in _KINDS if method == self.command)
        kind, match = next(((kind, match) for kind, match in kinds if match), ("unknown", None))
        groups = {key: unquote(value) for key, value in (match.groupdict() if match else {}).items() if value}
        name = groups.get("name") or query.get("name") or (_name_in(body) if kind == "upload" else "")
        return StorageRequest(kind=kind, bucket=groups.get("bucket", ""), name=name)

    def _forward(self, body: bytes) -> httpx.Response:
        headers = {key.lower(): value for key, value in self.headers.items()}
        headers |= {"accept-encoding": "identity", "host": urlsplit(self.proxy.upstream).netloc}
        if self.identity is not None:
            headers["authorization"] = f"Bearer {STORAGE_TOKENS[self.identity]}"
        request = self.proxy.client.build_request(self.command, self.path, headers=headers, content=body)
        return self.proxy.client.send(request)

    def _send_response(self, response: httpx.Response) -> None:
        self.send_response(response.status_code)
        for key, value in response.headers.items():
            if key.lower() not in _HOP_BY_HOP:
                self.send_header(key, value.replace(self.proxy.upstream, self.url))
        self._finish(response.content)

    def _refuse(self, status: int, reason: str) -> None:
        body = {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self._finish(json.dumps(body).encode())

    def _finish(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _name_in(body: bytes) -> str:
    """The object's name in the first part of a multipart upload, or in the JSON that opens a resumable one."""
    match = re.search(rb'"name":\s*("(?:[^"\\]|\\.)*")', body[:65536])
    return str(json.loads(match.group(1))) if match else ""


@contextmanager
def storage_proxy(upstream: str) -> Iterator[StorageProxy]:
    """Yields a proxy of a storage server, with two buckets that no other test uses."""
    public, staging = new_buckets()
    proxy = StorageProxy(upstream, public=public, staging=staging)
    with ExitStack() as stack:
        stack.callback(proxy.client.close)
        for identity in ("uploader", "generator", None):
            stack.enter_context(_listener(proxy, identity))
        yield proxy
        proxy.release()


@contextmanager
def _listener(proxy: StorageProxy, identity: str | None) -> Iterator[None]:
    handler: type[_Handler] = type("Door", (_Handler,), {"proxy": proxy, "identity": identity})
    server = _Server(("127.0.0.1", 0), handler)
    handler.url = proxy.urls[identity or "open"] = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
