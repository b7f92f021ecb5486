"""One HTTP connection: what uvicorn leaves open, bounded. No client holds a connection by doing nothing.

uvicorn bounds how many there are, too, but says so in plain text, and to the orchestrator as well, which would take the
process for dead.
"""

import asyncio

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.ids import new_uuid7
from gateway.edge import QUIET, SECURITY, instance_of
from gateway.framing import StrictConnection
from gateway.problems import Problem, malformed
from gateway.refusals import respond

#: With more of them open, requests are refused.
MOST_CONNECTIONS = 4_096


class Connection(H11Protocol):
    """Cut when the head of a request does not arrive, or nothing of an answer is taken, for too long."""

    most = MOST_CONNECTIONS
    head_seconds = 20.0
    stalled_seconds = 60.0

    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first request has to follow."""
        super().connection_made(transport)
        self.conn = StrictConnection()
        self._head = self.loop.call_later(self.head_seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """A head that has begun has to end; a kept connection without one has uvicorn's time."""
        self.app = self._refuse if len(self.connections) > self.most else self.config.loaded_app
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._head)
            self._head = None
        elif self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

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
