"""One HTTP connection: what uvicorn leaves open, bounded. No client holds one by doing nothing."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: With more of them the one that was idle for the longest goes; when none is idle, the new one.
MOST_CONNECTIONS = 400
IDLE_SECONDS = 300
#: In which a request that has begun is there as a whole, and in which something of an answer is taken.
REQUEST_SECONDS = 60.0
STALLED_SECONDS = 60.0


class HttpConnection(H11Protocol):
    """Cut when a request does not arrive, or nothing of an answer is taken, for too long."""

    _arrives: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first request has to follow."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._expect_request()
        if len(self.connections) > MOST_CONNECTIONS:
            idle = [
                one for one in self.connections if isinstance(one, HttpConnection) and one is not self and one.is_idle
            ]
            min(idle, key=lambda one: one._idle_since, default=self).transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked that is not answered."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """A request that has begun has to end; a kept connection without one has uvicorn's time."""
        self._expect_request()
        super().data_received(data)
        if not self._is_arriving():
            _cancel(self._arrives)
            self._arrives = None

    def on_response_complete(self) -> None:
        """Nothing is asked any more, unless the next request has begun already."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._is_arriving():
            self._expect_request()

    def pause_writing(self) -> None:
        """The client takes less than is written."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        _cancel(self._stalled)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        _cancel(self._arrives)
        _cancel(self._stalled)
        super().connection_lost(exc)

    def _is_arriving(self) -> bool:
        """Whether a part of a request is there, and not all of it."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _expect_request(self) -> None:
        if self._arrives is None:
            self._arrives = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
