"""HTTP requests that send nothing after a deadline: for writes that happen by a known time, or never.

A timeout of `requests` only bounds each silence. This module bounds the moment at which the last byte of a request is
handed to the operating system, and how long the system keeps it: a connection that is closed, or whose process dies,
drops its undelivered bytes.

A response whose head is cut off is an error: the HTTP library would take the part that arrived for the whole.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError

#: Seconds for which the operating system retransmits unacknowledged data, even while this process is frozen.
UNTAKEN_SECONDS = 10.0
# SO_LINGER on, 0 seconds: close at once and drop undelivered data.
_ABORT = struct.pack("ii", 1, 0)
_WITHOUT_BODY = frozenset({204, 304})


class _Operation(threading.local):
    #: Deadline of this thread's requests on the monotonic clock.
    ends_at = inf


_operation = _Operation()


@contextmanager
def within(ends_at: float) -> Iterator[None]:
    """Sets the deadline (monotonic clock) of this thread's requests. Raises `TimeoutError` when it has passed."""
    _seconds_until(ends_at)
    _operation.ends_at = ends_at
    try:
        yield
    finally:
        _operation.ends_at = inf


class BoundedAdapter(HTTPAdapter):
    """An adapter for sessions whose requests are made inside `within`."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Sets up pools of bounded connections."""
        super().init_poolmanager(*arguments, socket_options=_socket_options(), **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Returns a manager of bounded connections through a proxy."""
        manager = super().proxy_manager_for(proxy, socket_options=_socket_options(), **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Connection(HTTPConnection):
    def send(self, data: Any) -> None:
        _bounded_send(self, super().send, data)

    def getresponse(self) -> Any:
        return _checked(super().getresponse())


class _SecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        _bounded_send(self, super().send, data)

    def getresponse(self) -> Any:
        return _checked(super().getresponse())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


def _bounded_send(connection: Any, send: Any, data: Any) -> None:
    if connection.sock is None:
        connection.connect()
    seconds_left = _seconds_until(_operation.ends_at)
    if seconds_left < inf:
        # The socket timeout bounds the whole of `sendall`, however slowly the other side reads.
        connection.sock.settimeout(seconds_left)
    send(data)


def _checked(response: Any) -> Any:
    """Returns a response whose head says where its body ends; all responses of the store do.

    Raises `ProtocolError` for any other, as its head was cut off.
    """
    length = response.headers.get("content-length", "")
    if response.status in _WITHOUT_BODY or response.chunked or length.isdecimal():
        return response
    response.close()
    raise ProtocolError("The head of the response is cut off.")


def _seconds_until(moment: float) -> float:
    """Returns the seconds until a moment of the monotonic clock. Raises `TimeoutError` when it has passed."""
    seconds_left = moment - time.monotonic()
    if seconds_left <= 0:
        raise TimeoutError("The operation's time is over.")
    return seconds_left


def _socket_options() -> list[tuple[int, int, int | bytes]]:
    options = [
        *HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_LINGER, _ABORT),
    ]
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNTAKEN_SECONDS * 1000)))
    return options
