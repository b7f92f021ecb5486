"""The NATS client with a transport that reports a lost connection the same way on every event loop.

What a write to a closed transport does depends on the loop: asyncio drops it, or raises TypeError in some releases of
Python 3.12 and 3.13, and uvloop raises RuntimeError. The library expects an OSError. On anything else its flusher ends
without a reconnect, its reconnect task ends for good, and `close` stops halfway and leaves its tasks behind.
"""

import asyncio
from typing import Any
from urllib.parse import ParseResult

from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport

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
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise ConnectionResetError("The broker's greeting makes no sense.") from error

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


async def connected(url: str, **options: Any) -> NatsClient:
    """A client that is connected. Raises the library's errors."""
    client = NatsClient()
    await client.connect(url, **options)
    return client
