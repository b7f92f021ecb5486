"""OTLP collectors that fail: silent ones, those that answer errors, and those that are away."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Literal

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

#: `silent` accepts connections and reads, and never says a word; `errors` answers each request with an error; `away`
#: closes each connection.
Failure = Literal["silent", "errors", "away"]


class _Refuses(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """Answers each request with an error."""

    def Export(self, request: Any, context: Any) -> Any:
        """Refuses."""
        context.abort(grpc.StatusCode.INTERNAL, "The disk is full.")


class FailingCollector:
    """Fails in one way at a time; a change ends the open connections."""

    def __init__(self, errors_at: int) -> None:
        self._errors_at = errors_at
        self._failure: Failure = "errors"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.url = ""

    def fail_by(self, failure: Failure) -> None:
        """Fails in this way from now on."""
        with self._lock:
            self._failure = failure
            for connection in self._open:
                _shut(connection)

    def serve(self, connection: socket.socket) -> None:
        """Serves a connection until one side ends it."""
        with self._lock:
            failure = self._failure
            self._open.add(connection)
        try:
            if failure == "silent":
                while connection.recv(65536):
                    pass
            elif failure == "errors":
                with socket.create_connection(("127.0.0.1", self._errors_at)) as upstream:
                    back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
                    back.start()
                    _pump(connection, upstream)
                    back.join()
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _shut(target)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def failing_collector(failure: Failure = "errors") -> Iterator[FailingCollector]:
    """A collector that fails, on a free port of this machine."""
    errors, refuses = grpc.server(ThreadPoolExecutor(2)), _Refuses()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(refuses, errors)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(refuses, errors)
    found = FailingCollector(errors.add_insecure_port("127.0.0.1:0"))
    errors.start()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            found.serve(self.request)

    server = _Server(("127.0.0.1", 0), Handler)
    accepting = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    accepting.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    found.fail_by(failure)
    try:
        yield found
    finally:
        found.fail_by("away")
        server.shutdown()
        server.server_close()
        accepting.join()
        errors.stop(0).wait()
