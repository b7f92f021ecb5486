"""One HTTP connection: what uvicorn leaves open, bounded. No client holds a connection by doing nothing.

A connection without a request gives way to a new one, and a client that nobody knows has a part of all of them.

uvicorn bounds how many there are, too, but says so in plain text, and to the orchestrator as well, which would take the
process for dead.
"""

import asyncio
from typing import cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.ids import new_uuid7
from gateway.auth.authenticator import principal_of
from gateway.http.connection_room import peer_of, room_of
from gateway.http.error_responses import respond
from gateway.http.framing import StrictConnection
from gateway.http.middleware import QUIET, SECURITY, instance_of
from gateway.problems.problem import Problem, malformed

#: With more of them open, requests are refused; so they are with more of one client that nobody knows.
MOST_CONNECTIONS = 4_096
MOST_OF_STRANGERS = 512
#: Of many that come at once, each is there some time before its request is read.
SPARED_SECONDS = 1.0


class HttpConnection(H11Protocol):
    """Cut when the head of a request does not arrive, or nothing of an answer is taken, for too long."""

    most = MOST_CONNECTIONS
    most_of_strangers = MOST_OF_STRANGERS
    spared_seconds = SPARED_SECONDS
    head_seconds = 20.0
    stalled_seconds = 60.0

    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _is_admitted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first request has to follow."""
        super().connection_made(transport)
        self.conn = StrictConnection()
        self._peer = peer_of(self.client[0] if self.client else "")
        self._room = room_of(self.server_state)
        self._room.enter(self)
        self._head = self.loop.call_later(self.head_seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """A head that has begun has to end; a kept connection without one has uvicorn's time."""
        self._room.works(self)
        self.app = self._refuse if self._room.has_none_for(self) else self.config.loaded_app
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._head)
            self._head = None
        elif self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

    @property
    def peer(self) -> str:
        """Whose it is."""
        return self._peer

    @property
    def is_admitted(self) -> bool:
        """Whether the sender of a request on it was known: by a key or token, or as somebody on this machine."""
        if not self._is_admitted and self.scope is not None:
            self._is_admitted = principal_of(cast(Scope, self.scope)) is not None
        return self._is_admitted

    def give_up(self) -> None:
        """Close it for another."""
        self.timeout_keep_alive_handler()

    def on_response_complete(self) -> None:
        """The connection is kept for the next request, unless that has begun."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._room.rests(self)

    def pause_writing(self) -> None:
        """The client takes less than is written."""
        self.flow.pause_writing()
        self._expect_less(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has caught up."""
        _cancel(self._stalled)
        self.flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        _cancel(self._head)
        _cancel(self._stalled)
        self._room.leave(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem, too, unless an answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            problem = malformed("This is not a request as HTTP/1.1 has it.")
            answer = respond(problem, instance="", request_id=new_uuid7().hex)
            headers = [*answer.headers.items(), *SECURITY.items(), ("Connection", "close")]
            for part in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the application while there are too many connections."""
        if scope["path"] in QUIET:
            await self.config.loaded_app(scope, receive, send)
            return
        detail = "Too many connections are open here; ask again."
        problem = Problem(reason="SERVICE_UNAVAILABLE", detail=detail, retry_after_seconds=2)
        answer = respond(problem, instance=instance_of(scope), request_id=new_uuid7().hex)
        answer.headers.update({**SECURITY, "Connection": "close"})
        await answer(scope, receive, send)

    def _expect_less(self, than: int) -> None:
        self._stalled = self.loop.call_later(self.stalled_seconds, self._look_again, than)

    def _look_again(self, before: int) -> None:
        """A slow client is not a stalled one."""
        if (left := self.transport.get_write_buffer_size()) >= before:
            self.transport.abort()
        else:
            self._expect_less(left)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
