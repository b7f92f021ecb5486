"""The NATS client with a transport that reports a lost connection the same way on every event loop.

What a write to a closed transport does depends on the loop: asyncio drops it, or raises TypeError in some releases of
Python 3.12 and 3.13, and uvloop raises RuntimeError. The library expects an OSError. On anything else its flusher ends
without a reconnect, its reconnect task ends for good, and `close` stops halfway and leaves its tasks behind.
"""

import asyncio
import ssl
from typing import Any
from urllib.parse import ParseResult, urlsplit

from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.protocol.parser import AUTHORIZATION_VIOLATION, PERMISSIONS_ERR

_LOST = "The connection to the broker is lost."


class LossReportingTransport(TcpTransport):
    """Raises `ConnectionResetError` when data cannot be sent, except while the client closes."""

    def __init__(self) -> None:
        super().__init__()
        #: Set while the client closes: what cannot be sent any more is dropped, so that `close` runs to its end.
        self.drops_unsent = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Open a connection; the library uses one transport for all its attempts, and forgets those that failed."""
        self.drops_unsent = False
        if self._io_writer is not None:
            self._io_writer.close()
        await super().connect(uri, buffer_size, connect_timeout)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """Go on in TLS; after a handshake that failed there is no connection, and nothing of it to wait for."""
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            # Its stream is never told that it was closed: the library would wait for that without end.
            failed, self._io_writer = self._io_writer, None
            if failed is not None:
                failed.transport.abort()
            raise

    def write(self, payload: bytes) -> None:
        """Write; on a lost connection the payload is dropped, and the `drain` that follows raises."""
        if not self._is_lost:
            super().write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """Write all; raises before the library forgets them, so that they are sent after a reconnect."""
        if not self._is_lost:
            super().writelines(payload)
        elif not self.drops_unsent:
            raise ConnectionResetError(_LOST)

    async def drain(self) -> None:
        """Wait until what was written is on its way."""
        try:
            if self._is_lost:
                raise ConnectionResetError(_LOST)
            await super().drain()
        except OSError:
            if not self.drops_unsent:
                raise

    def __bool__(self) -> bool:
        # The library would replace a transport that is false, as its own is before the first connection.
        return True

    @property
    def _is_lost(self) -> bool:
        return self._io_writer is None or self._io_writer.is_closing()


class NatsClient(Client):
    """The library's client over a `LossReportingTransport`."""

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is None and s.uri.scheme in ("nats", "tls"):
            self._transport = LossReportingTransport()
        await super()._connect_to_server(s)

    async def _process_connect_init(self) -> None:
        """Greet the server; a greeting that breaks off anywhere is a lost connection, after which the next is tried.

        The library takes it apart unchecked, and on other errors than these its reconnect task ends for good.
        """
        try:
            await super()._process_connect_init()
        except OSError:
            # That a certificate is not the right one is a ValueError, too.
            raise
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise ConnectionResetError("The broker's greeting makes no sense.") from error

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Refuse a greeting without TLS where TLS is wanted: the library would go on, and send the password."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise ConnectionRefusedError("The broker does not offer TLS.")
        await super()._process_info(info, initial_connection)

    async def _process_err(self, err_msg: str) -> None:
        """What a server says before it closes a connection, as when a password was changed: the next is tried.

        The library would close for good, but for stale connections.
        """
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(NatsError(f"nats: {err_msg}"))

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # Every way to the end comes through here: `close`, a failed first attempt, an error that the server sent.
        await self._end_reconnecting()
        if isinstance(self._transport, LossReportingTransport):
            self._transport.drops_unsent = True
        await super()._close(status, do_cbs)

    async def _end_reconnecting(self) -> None:
        # The library cancels once. That can be lost: it suppresses a cancellation while it flushes, and `wait_for` of
        # Python 3.11 drops one that comes together with its result. The task would then try to connect for ever.
        task = self._reconnection_task
        while task is not None and task is not asyncio.current_task() and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


def is_refused(error: Exception) -> bool:
    """Whether the server refused the user, or a subject to the user."""
    said = str(error).lower()
    return PERMISSIONS_ERR in said or AUTHORIZATION_VIOLATION in said


async def connected(url: str, *, tls: ssl.SSLContext | None = None, **options: Any) -> NatsClient:
    """A client that is connected. Raises the library's errors.

    With `tls`, every server, those that are found later included, must have a certificate for the host of the URL.
    """
    client = NatsClient()
    if tls is not None:
        options |= {"tls": tls, "tls_hostname": urlsplit(url).hostname}
    await client.connect(url, **options)
    return client
