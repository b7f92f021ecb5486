"""HTTP of which nothing leaves after a given moment: for writes that must have happened by a known time, or never.

A timeout of `requests` bounds each silence. This bounds when the last byte of a request is handed to the system, and
what becomes of it there: a connection that is given up, or whose process dies, takes with it what was not delivered.

An answer whose head broke off is none: the library below would take what came of it for all of it.
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

#: Seconds that the system goes on to offer what the other side does not take; by itself, though the process is frozen.
UNTAKEN_SECONDS = 10.0
# Closed at once, and what is not delivered yet is dropped.
_ABORT = struct.pack("ii", 1, 0)
_WITHOUT_BODY = frozenset({204, 304})


class _Operation(threading.local):
    ends_at = inf


_operation = _Operation()


@contextmanager
def within(ends_at: float) -> Iterator[None]:
    """Let requests of this thread send nothing after that moment (monotonic clock). Raises `TimeoutError` past it."""
    _must_be_before(ends_at)
    _operation.ends_at = ends_at
    try:
        yield
    finally:
        _operation.ends_at = inf


class BoundedAdapter(HTTPAdapter):
    """Mount it on a session whose requests are made `within` bounds."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Pools of bounded connections."""
        super().init_poolmanager(*arguments, socket_options=_socket_options(), **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The same behind a proxy."""
        manager = super().proxy_manager_for(proxy, socket_options=_socket_options(), **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Connection(HTTPConnection):
    def send(self, data: Any) -> None:
        _bounded_send(self, super().send, data)

    def getresponse(self) -> Any:
        return _whole(super().getresponse())


class _SecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        _bounded_send(self, super().send, data)

    def getresponse(self) -> Any:
        return _whole(super().getresponse())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


def _bounded_send(connection: Any, send: Any, data: Any) -> None:
    if connection.sock is None:
        connection.connect()
    left = _must_be_before(_operation.ends_at)
    if left < inf:
        # Sending all of it is bounded by one timeout of the socket, however slowly it is taken.
        connection.sock.settimeout(left)
    send(data)


def _whole(answer: Any) -> Any:
    """An answer that tells where its body ends, as all of the store's do; one whose head is cut does not."""
    length = answer.headers.get("content-length", "")
    if answer.status in _WITHOUT_BODY or answer.chunked or length.isdecimal():
        return answer
    answer.close()
    raise ProtocolError("The head of an answer broke off.")


def _must_be_before(moment: float) -> float:
    left = moment - time.monotonic()
    if left <= 0:
        raise TimeoutError("The operation's time is over.")
    return left


def _socket_options() -> list[tuple[int, int, int | bytes]]:
    options = [
        *HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_LINGER, _ABORT),
    ]
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNTAKEN_SECONDS * 1000)))
    return options
