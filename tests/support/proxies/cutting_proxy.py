"""A proxy of an HTTP server that cuts connections: after a whole request was forwarded, or all open ones.

It can respond that the server is unavailable, too.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

_AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class CuttingProxy:
    """Cuts the next `cuts` connections, each once `on_request(number)` has returned: no response arrives on them.

    The next `refusals` requests get 503. `seen` has the heads of forwarded first requests, `last_sent` the monotonic
    time of the last byte that a client sent.
    """

    upstream: str
    cuts: int = 0
    on_request: Callable[[int], None] = lambda _: None
    refusals: int = 0
    url: str = ""
    seen: list[str] = field(default_factory=list)
    last_sent: float = 0.0
    open_connections: set[socket.socket] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_cut(self, head: bytes) -> bool:
        """Whether the connection of this request is to be cut; returns when it is time."""
        with self.lock:
            self.seen.append(head.decode("latin-1"))
            if len(self.seen) > self.cuts:
                return False
            self.on_request(len(self.seen))
            return True

    def is_refused(self) -> bool:
        """Returns whether the next request gets the response that the server is unavailable."""
        with self.lock:
            self.refusals -= 1
            return self.refusals >= 0

    def cut_open(self) -> None:
        """Cut every connection that is open now."""
        with self.lock:
            for connection in self.open_connections:
                _shut(connection)

    def note_sent(self) -> None:
        """A client sent something."""
        self.last_sent = time.monotonic()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Handler(BaseRequestHandler):
    proxy: CuttingProxy

    def handle(self) -> None:
        head, body = _request(self.request)
        if not head:
            return
        self.proxy.note_sent()
        if self.proxy.is_refused():
            self.request.sendall(_AWAY)
            return
        to = urlsplit(self.proxy.upstream)
        with socket.create_connection((to.hostname, to.port)) as server:
            server.sendall(head + body)
            if self.proxy.is_cut(head):
                return
            with self.proxy.lock:
                self.proxy.open_connections.add(self.request)
            back = threading.Thread(target=_pump, args=(server, self.request), daemon=True)
            back.start()
            _pump(self.request, server, self.proxy.note_sent)
            back.join()
            with self.proxy.lock:
                self.proxy.open_connections.discard(self.request)


def _request(client: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (chunk := client.recv(65_536)):
            return b"", b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    stated = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while stated and len(body) < int(stated[1]):
        body += client.recv(65_536)
    return head + b"\r\n\r\n", body


def _pump(source: socket.socket, sink: socket.socket, note: Callable[[], None] = lambda: None) -> None:
    try:
        while chunk := source.recv(65_536):
            note()
            sink.sendall(chunk)
    except OSError:
        pass
    finally:
        # The other direction ends too.
        for connection in (source, sink):
            _shut(connection)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(
    upstream: str, *, cuts: int = 0, on_request: Callable[[int], None] = lambda _: None
) -> Iterator[CuttingProxy]:
    """The proxy on a free port of this machine."""
    proxy = CuttingProxy(upstream=upstream, cuts=cuts, on_request=on_request)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as server:
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield proxy
        server.shutdown()
        thread.join()
