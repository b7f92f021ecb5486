"""Object storage that keeps the rules of the real one, in front of the embedded server, which has none of them.

Each service has a door of its own (a port), which is its identity: set STORAGE_EMULATOR_HOST to the door's URL. Through
the open door everybody is anonymous, unless a bearer token says otherwise. Conditions on generations hold for uploads,
copies and rewrites. Faults can be ordered for the next requests of a kind.
"""

import itertools
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
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx

from cli.stack.storage import make_bucket
from tests.support.patience import PATIENCE

_NUMBERS = itertools.count(1)
TOKENS = {"uploader": "token-of-uploader", "generator": "token-of-generator"}
_OBJECT = r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
_TARGET = r"/b/(?P<target_bucket>[^/]+)/o/(?P<target>[^/]+)"
#: What a request asks for, by method and path; the first that fits.
_KINDS = (
    ("rewrite", "POST", re.compile(rf"^{_OBJECT}/rewriteTo{_TARGET}$")),
    ("copy", "POST", re.compile(rf"^{_OBJECT}/copyTo{_TARGET}$")),
    ("upload", "POST", re.compile(r"^/upload/storage/v1/b/(?P<bucket>[^/]+)/o$")),
    ("upload", "PUT", re.compile(r"^/upload/(?:storage/v1/b/(?P<bucket>[^/]+)/o)?")),
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
    LOSE_ANSWER = auto()
    """It is done, and the connection breaks before the answer."""
    HOLD = auto()
    """Nothing happens until `release`."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: who wants what of which object. `target` is what would be written, as bucket and name."""

    identity: str | None
    kind: str
    bucket: str
    name: str
    target: tuple[str, str] | None
    generation: int | None


class StorageProxy:
    """The store behind its doors; `doors` gives each identity's URL."""

    def __init__(self, upstream: str, *, public: str, staging: str) -> None:
        self.upstream = upstream
        self.public, self.staging = public, staging
        self.doors: dict[str, str] = {}
        self.asked: list[Asked] = []
        self.client = httpx.Client(base_url=upstream, trust_env=False, timeout=PATIENCE)
        self.writing = threading.Lock()
        self._faults: list[tuple[str, Fault]] = []
        self._away: Fault | None = None
        self._held = threading.Event()
        self._changed = threading.Condition()

    @property
    def open_door(self) -> str:
        """Where nobody has an identity."""
        return self.doors["open"]

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
        return sum(one.kind == kind for one in self.asked)

    def wait_for(self, kind: str, *, times: int = 1) -> None:
        """Wait until so many requests of a kind came."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.count(kind) >= times, timeout=PATIENCE)
        assert came, f"nobody asked for {kind} {times} times: {self.asked}"

    def note(self, asked: Asked) -> Fault | None:
        """Book a request; the fault that it meets."""
        with self._changed:
            self.asked.append(asked)
            ordered = next((one for one in self._faults if one[0] == asked.kind), None)
            if ordered is not None:
                self._faults.remove(ordered)
            self._changed.notify_all()
        fault = self._away or (ordered[1] if ordered else None)
        if fault is Fault.HOLD:
            assert self._held.wait(PATIENCE), "nobody released the request"
            return None
        return fault

    def refusal(self, asked: Asked) -> int | None:
        """The status by which a request is refused, or None: who may do what with which bucket."""
        if asked.kind == "unknown":
            return 403
        may = self._may_read(asked) if asked.kind in ("read", "list", "rewrite", "copy") else True
        if asked.kind in ("upload", "rewrite", "copy", "delete"):
            bucket = asked.target[0] if asked.target else asked.bucket
            owner = {self.public: "uploader", self.staging: "generator"}.get(bucket)
            may = may and asked.identity is not None and asked.identity == owner
        if may:
            return None
        return 401 if asked.identity is None else 403

    def _may_read(self, asked: Asked) -> bool:
        if asked.bucket == self.public:
            # Anybody reads what he can name; nobody but the owner learns names.
            return asked.kind != "list" or asked.identity == "uploader"
        readers = {"generator"} if asked.kind == "list" else {"generator", "uploader"}
        return asked.bucket == self.staging and asked.identity in readers

    def violates(self, asked: Asked) -> bool:
        """Whether the object to be written is not of the generation that the writer expects."""
        if asked.generation is None or asked.target is None:
            return False
        bucket, name = asked.target
        found = self.client.get(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")
        there = int(found.json()["generation"]) if found.status_code == 200 else 0
        return there != asked.generation


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes in the midst of a request is none of our business."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Door(BaseHTTPRequestHandler):
    """One identity's way in."""

    protocol_version = "HTTP/1.1"
    proxy: StorageProxy
    identity: str | None
    url: str

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Any request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = self._asked(body)
        fault = self.proxy.note(asked)
        if fault is Fault.HANG_UP:
            self._hang_up()
        elif fault is Fault.UNAVAILABLE:
            self._refuse(503, "backendError")
        elif status := self.proxy.refusal(asked):
            self._refuse(status, "forbidden")
        else:
            answer = self._forward(asked, body)
            if fault is Fault.LOSE_ANSWER:
                self._hang_up()
            elif answer is None:
                self._refuse(412, "conditionNotMet")
            else:
                self._answer(answer)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that the library calls

    def _asked(self, body: bytes) -> Asked:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        kinds = ((kind, path.match(address.path)) for kind, method, path in _KINDS if method == self.command)
        kind, found = next(((kind, found) for kind, found in kinds if found), ("unknown", None))
        groups = {key: unquote(value) for key, value in (found.groupdict() if found else {}).items() if value}
        name = groups.get("name") or query.get("name") or (_name_in(body) if kind == "upload" else "")
        bucket = groups.get("bucket", "")
        target = (groups["target_bucket"], groups["target"]) if "target" in groups else None
        if kind == "upload":
            target = (bucket or self.proxy.staging, name)
        generation = query.get("ifGenerationMatch")
        return Asked(
            identity=self._identity(),
            kind=kind,
            bucket=bucket,
            name=name,
            target=target,
            generation=int(generation) if generation is not None else None,
        )

    def _identity(self) -> str | None:
        if self.identity is not None:
            return self.identity
        word, _, token = self.headers.get("Authorization", "").partition(" ")
        return next((name for name, known in TOKENS.items() if (word, token) == ("Bearer", known)), None)

    def _forward(self, asked: Asked, body: bytes) -> httpx.Response | None:
        """The store's answer; None when a condition does not hold, judged and acted upon at once."""
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "accept-encoding")}
        headers |= {"Accept-Encoding": "identity", "Host": urlsplit(self.proxy.upstream).netloc}
        request = self.proxy.client.build_request(self.command, self.path, headers=headers, content=body)
        if asked.target is None:
            return self.proxy.client.send(request)
        with self.proxy.writing:
            return None if self.proxy.violates(asked) else self.proxy.client.send(request)

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        for key, value in answer.headers.items():
            if key.lower() not in _HOP_BY_HOP:
                self.send_header(key, value.replace(self.proxy.upstream, self.url))
        self._finish(answer.content)

    def _refuse(self, status: int, reason: str) -> None:
        told = {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self._finish(json.dumps(told).encode())

    def _finish(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _name_in(body: bytes) -> str:
    """The object's name in the first part of a multipart upload, or in the JSON that opens a resumable one."""
    found = re.search(rb'"name":\s*("(?:[^"\\]|\\.)*")', body[:65536])
    return str(json.loads(found.group(1))) if found else ""


@contextmanager
def storage_proxy(upstream: str) -> Iterator[StorageProxy]:
    """Stand before a storage server, with two new buckets there."""
    number = next(_NUMBERS)
    proxy = StorageProxy(upstream, public=f"public-{number}", staging=f"staging-{number}")
    make_bucket(upstream, proxy.public)
    make_bucket(upstream, proxy.staging)
    with ExitStack() as stack:
        stack.callback(proxy.client.close)
        for identity in ("uploader", "generator", None):
            stack.enter_context(_door(proxy, identity))
        yield proxy
        proxy.release()


@contextmanager
def _door(proxy: StorageProxy, identity: str | None) -> Iterator[None]:
    handler: type[_Door] = type("Door", (_Door,), {"proxy": proxy, "identity": identity})
    server = _Server(("127.0.0.1", 0), handler)
    handler.url = proxy.doors[identity or "open"] = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
