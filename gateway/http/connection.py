"""One HTTP connection, with the limits that uvicorn does not have: no client holds a connection by doing nothing.

An idle connection is closed when a new one needs its slot, and a client without a key gets a limited number of them.

uvicorn can limit connections too, but it responds in plain text, and refuses the orchestrator's probes as well, which
would then restart the process.
"""

import asyncio
from typing import cast

import h11
from calotype.error_reasons import Reason
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.ids import new_uuid7
from gateway.auth.authenticator import principal_of
from gateway.http.connection_limits import limits_of, peer_of
from gateway.http.error_responses import respond
from gateway.http.framing import StrictConnection
from gateway.http.middleware import PROBES, SECURITY, instance_of
from gateway.problems.problem import Problem, malformed

#: Open connections of the server; requests on further ones are refused.
CONNECTION_LIMIT = 4_096
#: Open connections of one client on which no request was authenticated; requests on further ones are refused.
UNKNOWN_CLIENT_LIMIT = 512
#: Seconds before an idle connection may be closed: when many open at once, their first requests are read late.
IDLE_GRACE_SECONDS = 1.0


class HttpConnection(H11Protocol):
    """Closes when the head of a request does not arrive in time, or the client stops receiving the response."""

    connection_limit = CONNECTION_LIMIT
    unknown_client_limit = UNKNOWN_CLIENT_LIMIT
    idle_grace_seconds = IDLE_GRACE_SECONDS
    #: Longest time for the head of a request, from the opening of the connection or from its first byte.
    head_seconds = 20.0
    #: Longest time in which the client receives nothing of a response.
    stalled_seconds = 60.0

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _is_authenticated = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time limit for the first request."""
        super().connection_made(transport)
        self.conn = StrictConnection()
        self._peer = peer_of(self.client[0] if self.client else "")
        self._limits = limits_of(self.server_state)
        self._limits.add(self)
        self._head_timer = self.loop.call_later(self.head_seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Limits the time for a head that has begun; between requests uvicorn's keep-alive limit applies."""
        self._limits.mark_busy(self)
        self.app = self._refuse if self._limits.is_over_limit(self) else self.config.loaded_app
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    @property
    def peer(self) -> str:
        """The client, as `peer_of` identifies it."""
        return self._peer

    @property
    def is_authenticated(self) -> bool:
        """Whether a request on this connection had a key or token, or was a local one that needs none."""
        if not self._is_authenticated and self.scope is not None:
            self._is_authenticated = principal_of(cast(Scope, self.scope)) is not None
        return self._is_authenticated

    def close_idle(self) -> None:
        """Closes the connection so that a new one can be accepted."""
        self.timeout_keep_alive_handler()

    def on_response_complete(self) -> None:
        """Marks the connection as idle unless the next request has already begun to arrive."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._limits.mark_idle(self)

    def pause_writing(self) -> None:
        """Starts the time limit for a client that receives more slowly than the response is written."""
        self.flow.pause_writing()
        self._start_stall_timer(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stops that time limit."""
        _cancel(self._stall_timer)
        self.flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all time limits."""
        _cancel(self._head_timer)
        _cancel(self._stall_timer)
        self._limits.remove(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers bytes that are not HTTP with a problem too, unless a response has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            problem = malformed("The request is not valid HTTP/1.1.")
            response = respond(problem, instance="", request_id=new_uuid7().hex)
            headers = [*response.headers.items(), *SECURITY.items(), ("Connection", "close")]
            for part in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Replaces the application while there are too many connections; probes are still answered."""
        if scope["path"] in PROBES:
            await self.config.loaded_app(scope, receive, send)
            return
        detail = "Too many connections are open. Try again, and reuse connections."
        problem = Problem(reason=Reason.SERVICE_UNAVAILABLE, detail=detail, retry_after_seconds=2)
        response = respond(problem, instance=instance_of(scope), request_id=new_uuid7().hex)
        response.headers.update({**SECURITY, "Connection": "close"})
        await response(scope, receive, send)

    def _start_stall_timer(self, unsent_bytes: int) -> None:
        self._stall_timer = self.loop.call_later(self.stalled_seconds, self._check_stall, unsent_bytes)

    def _check_stall(self, unsent_before: int) -> None:
        """Aborts the connection unless the client received something meanwhile."""
        if (unsent := self.transport.get_write_buffer_size()) >= unsent_before:
            self.transport.abort()
        else:
            self._start_stall_timer(unsent)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
