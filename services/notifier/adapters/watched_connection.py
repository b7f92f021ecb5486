"""Connections of one attempt: they know how far the attempt has come, and receive a bounded number of bytes."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import httpcore

from services.notifier.domain.attempts import AttemptError

#: Bytes of a response, status line and interim responses included, that are received at most.
MAX_RECEIVED = 96 * 1024
#: Bytes of one read, so that hardly more of a body is received than is kept.
_READ = 4 * 1024


class EnoughReceived(Exception):
    """The receiver sent as much as is wanted, or `MAX_RECEIVED` bytes, and its response has not ended."""


@dataclass(kw_only=True)
class Progress:
    """How far an attempt has come."""

    #: Class of a failure that happens now.
    step: AttemptError
    #: Whether the receiver is reached by TLS.
    uses_tls: bool
    #: Whether the handshake with a forward proxy that is itself reached by TLS is still to come.
    proxy_handshake_due: bool = False
    #: IP address that the connection leads to; None before there is one.
    peer: str | None = None
    #: Bytes received, after decryption.
    received: int = 0
    #: Whether nothing more is read.
    is_enough: bool = False

    def connected(self, peer: str | None) -> None:
        """Records that a TCP connection was made, to the proxy if there is one."""
        self.peer = peer
        if not (self.uses_tls or self.proxy_handshake_due):
            self.step = AttemptError.TIMEOUT_HEADERS

    def handshake_begins(self) -> None:
        """Records that a TLS handshake begins."""
        if not self.proxy_handshake_due:
            self.step = AttemptError.TLS

    def handshake_ended(self) -> None:
        """Records that a TLS handshake succeeded."""
        if not (self.proxy_handshake_due and self.uses_tls):
            self.step = AttemptError.TIMEOUT_HEADERS
        self.proxy_handshake_due = False


class WatchedBackend(httpcore.AsyncNetworkBackend):
    """Opens watched connections through another backend."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, progress: Progress) -> None:
        self._backend = backend
        self._progress = progress

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Returns a watched connection; raises what the other backend raises."""
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        peer = stream.get_extra_info("server_addr")
        self._progress.connected(str(peer[0]) if peer else None)
        return _WatchedStream(stream, self._progress)

    async def sleep(self, seconds: float) -> None:
        """Pauses between attempts of httpcore."""
        await self._backend.sleep(seconds)


class _WatchedStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._progress.is_enough or self._progress.received >= MAX_RECEIVED:
            raise EnoughReceived
        received = await self._stream.read(min(max_bytes, _READ), timeout)
        self._progress.received += len(received)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._progress.handshake_begins()
        # Certificates name a host without the full stop of the root, and an IPv6 address without brackets.
        name = (server_hostname or "").rstrip(".").strip("[]")
        try:
            stream = await self._stream.start_tls(ssl_context, name, timeout)
        except BaseException:
            # httpcore leaves the connection open when the handshake is canceled.
            await self._stream.aclose()
            raise
        self._progress.handshake_ended()
        return _WatchedStream(stream, self._progress)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
