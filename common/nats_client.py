"""A NATS client whose transport reports a lost connection in the same way on every event loop.

A write to a closed transport depends on the loop: asyncio drops it, or raises TypeError in some releases of Python 3.12
and 3.13, and uvloop raises RuntimeError. The library expects an OSError. After any other error, its flusher ends
without a reconnect, its reconnect task ends for good, and `close` stops halfway and leaves tasks behind.
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
        #: Set while the client closes: unsent data is dropped instead of raising, so that `close` runs to its end.
        self.drops_unsent = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Opens a connection, and closes the last one: the library reuses the transport and forgets failed attempts."""
        self.drops_unsent = False
        if self._io_writer is not None:
            self._io_writer.close()
        await super().connect(uri, buffer_size, connect_timeout)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """Upgrades the connection to TLS; drops it when the handshake fails."""
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            # Its stream never learns that it was closed: the library would wait for that without end.
            failed, self._io_writer = self._io_writer, None
            if failed is not None:
                failed.transport.abort()
            raise

    def write(self, payload: bytes) -> None:
        """Writes; on a lost connection it drops the payload, and the following `drain` raises."""
        if not self._is_lost:
            super().write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """Writes all payloads; raises before the library forgets them, so that they are sent after a reconnect."""
        if not self._is_lost:
            super().writelines(payload)
        elif not self.drops_unsent:
            raise ConnectionResetError(_LOST)

    async def drain(self) -> None:
        """Waits until the buffer is flushed. Raises `ConnectionResetError` on a lost connection."""
        try:
            if self._is_lost:
                raise ConnectionResetError(_LOST)
            await super().drain()
        except OSError:
            if not self.drops_unsent:
                raise

    def __bool__(self) -> bool:
        # The library replaces a transport that is falsy, as its own transport is before the first connection.
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
        """Exchanges greetings with the server; a malformed greeting is a lost connection, so that a reconnect follows.

        The library parses the greeting unchecked, and after other errors its reconnect task ends for good.
        """
        try:
            await super()._process_connect_init()
        except OSError:
            # A certificate error is an OSError and a ValueError.
            raise
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise ConnectionResetError("The broker's greeting is malformed.") from error

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Refuses a server without TLS when TLS is set: the library would continue and send the password."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise ConnectionRefusedError("The broker does not offer TLS.")
        await super()._process_info(info, initial_connection)

    async def _process_err(self, err_msg: str) -> None:
        """Reconnects after an error that the server sends before it closes the connection, as for a changed password.

        The library would close for good, except for stale connections.
        """
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(NatsError(f"nats: {err_msg}"))

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # Called by every ending: `close`, a failed first attempt, an error that the server sent.
        await self._end_reconnecting()
        if isinstance(self._transport, LossReportingTransport):
            self._transport.drops_unsent = True
        await super()._close(status, do_cbs)

    async def _end_reconnecting(self) -> None:
        # The library cancels once, which can have no effect: it suppresses a cancellation while it flushes, and
        # `wait_for` of Python 3.11 drops one that arrives with its result. The task would then reconnect for ever.
        task = self._reconnection_task
        while task is not None and task is not asyncio.current_task() and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


def is_refused(error: Exception) -> bool:
    """Returns whether the server refused the user, or the user's access to a subject."""
    message = str(error).lower()
    return PERMISSIONS_ERR in message or AUTHORIZATION_VIOLATION in message


async def connected(url: str, *, tls: ssl.SSLContext | None = None, **options: Any) -> NatsClient:
    """Connects and returns the client. Raises the errors of the NATS library.

    The URL may be several with commas between them, of servers of one cluster. With `tls`, every server, also those
    that the cluster announces later, must have a certificate for the host of the first URL.
    """
    client = NatsClient()
    servers = url.split(",")
    if tls is not None:
        options |= {"tls": tls, "tls_hostname": urlsplit(servers[0]).hostname}
    await client.connect(servers, **options)
    return client
