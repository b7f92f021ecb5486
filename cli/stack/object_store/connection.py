"""An HTTP connection of uvicorn with bounds, so that no idle client holds a connection for ever."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Open connections. With more, the connection that was idle for the longest is closed; the new one when none is idle.
CONNECTION_LIMIT = 400
#: Seconds that a connection may be idle.
IDLE_SECONDS = 300
#: Seconds in which a whole request must arrive, and seconds in which the client must read something of a response.
REQUEST_SECONDS = 60.0
STALLED_SECONDS = 60.0


class HttpConnection(H11Protocol):
    """Closed when a request does not arrive, or nothing of a response is read, for too long."""

    #: Closes the connection unless a request arrives.
    _arrives: asyncio.TimerHandle | None = None
    #: Closes the connection unless the client reads.
    _stalled: asyncio.TimerHandle | None = None
    #: Since when every request has its response, by the loop's clock.
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts to wait for the first request; closes a connection if there are too many."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._expect_request()
        if len(self.connections) > CONNECTION_LIMIT:
            idle = [
                other
                for other in self.connections
                if isinstance(other, HttpConnection) and other is not self and other.is_idle
            ]
            min(idle, key=lambda connection: connection._idle_since, default=self).transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether every request has its response."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Limits the time of a request that has begun; uvicorn limits that of a connection without a request."""
        self._expect_request()
        super().data_received(data)
        if not self._is_arriving():
            _cancel(self._arrives)
            self._arrives = None

    def on_response_complete(self) -> None:
        """Notes that the connection is idle, unless the next request has begun already."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._is_arriving():
            self._expect_request()

    def pause_writing(self) -> None:
        """Limits the time in which the client may read nothing."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends that limit: the client has read."""
        _cancel(self._stalled)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels all timers."""
        _cancel(self._arrives)
        _cancel(self._stalled)
        super().connection_lost(exc)

    def _is_arriving(self) -> bool:
        """Whether a part of a request has arrived, but not the whole."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _expect_request(self) -> None:
        if self._arrives is None:
            self._arrives = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
