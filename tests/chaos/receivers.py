"""Receivers of webhooks on loopback that misbehave by plan, and keep every request that comes to them."""

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from enum import StrEnum
from typing import Any

from tests.chaos.flipping_names import NAME
from tests.support.patience import PATIENCE
from tests.support.servers.hostile_receivers import Sniffer, reset
from tests.support.servers.tcp_servers import tcp_server

#: A metadata server's address, to which redirects lead.
METADATA = "http://169.254.169.254/latest/meta-data/"
#: An address that no endpoint names, with a listener that accepts nothing.
UNNAMED = "127.0.0.2"
#: Bad responses to one delivery at most, before a good one: fewer than its attempts.
MAX_BAD = 4
#: Good responses of a receiver before it is gone.
BEFORE_GONE = 2
#: Seconds of a slow response, and between two pieces of a trickle.
SLOW_SECONDS, TRICKLE_SECONDS = 3.0, 0.5
HUGE_BYTES = 10 * 1024 * 1024


class Behaviour(StrEnum):
    """What a receiver does with a request that it has read."""

    GOOD = "good"
    SLOW = "slow"
    HUGE = "huge"
    """Ten megabytes with status 200."""
    ERROR = "error"
    BUSY = "busy"
    """Status 503 with Retry-After."""
    HANG = "hang"
    RESET = "reset"
    TRICKLE = "trickle"
    """Status 200, and a body that never ends."""
    GARBAGE = "garbage"
    REDIRECT = "redirect"
    """To the metadata server's address."""
    REDIRECT_HERE = "redirect_here"
    """To the address that no endpoint names."""
    GONE = "gone"


class Kind(StrEnum):
    """How a receiver behaves until there is peace."""

    STEADY = "steady"
    FLAKY = "flaky"
    HANGING = "hanging"
    VANISHING = "vanishing"
    """Gone after a few requests, and at peace, too."""
    FLIPPING = "flipping"
    """Good, at a name that now and then leads to a forbidden address."""


#: Those that acknowledge an event.
ACCEPTED = frozenset({Behaviour.GOOD, Behaviour.SLOW, Behaviour.HUGE})
BAD = tuple(one for one in Behaviour if one not in {*ACCEPTED, Behaviour.GONE})
_HEADS = {
    Behaviour.GOOD: b"HTTP/1.1 204 No Content\r\n\r\n",
    Behaviour.ERROR: b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 3\r\n\r\n\0no",
    Behaviour.BUSY: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
    Behaviour.GARBAGE: b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    Behaviour.REDIRECT: f"HTTP/1.1 301 Moved Permanently\r\nlocation: {METADATA}\r\n\r\n".encode(),
    Behaviour.GONE: b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
}


class Receiver:
    """One receiver, on a port of its own."""

    def __init__(self, name: str, kind: Kind, *, seed: int) -> None:
        self.name = name
        self.url = ""
        self.host = NAME if kind is Kind.FLIPPING else "127.0.0.1"
        self._kind = kind
        self._seed = seed
        self._count = 0
        self._of_delivery: Counter[str] = Counter()

    def next_behaviour(self, delivery: str, *, is_peace: bool) -> Behaviour:
        """What it does with the next request, which is one of the delivery."""
        self._count += 1
        self._of_delivery[delivery] += 1
        if self._kind is Kind.VANISHING:
            return Behaviour.GOOD if self._count <= BEFORE_GONE else Behaviour.GONE
        if is_peace or self._kind in (Kind.STEADY, Kind.FLIPPING):
            return Behaviour.GOOD
        if self._kind is Kind.HANGING:
            return Behaviour.HANG
        dice = random.Random(f"{self._seed}/{self.name}/{delivery}")
        plan = [*dice.choices(BAD, k=dice.randrange(MAX_BAD + 1)), dice.choice(sorted(ACCEPTED))]
        return plan[min(self._of_delivery[delivery], len(plan)) - 1]


class Receivers:
    """All receivers of a run; `requests` has what came, in the order in which it was read."""

    def __init__(self, receivers: Sequence[Receiver], sniffer: Sniffer) -> None:
        self._receivers = receivers
        self._sniffer = sniffer
        self._peace = asyncio.Event()
        self._is_peace = False
        self.requests: list[dict[str, Any]] = []

    async def open(self, stack: AsyncExitStack) -> None:
        """Listen."""
        for receiver in self._receivers:
            port = await stack.enter_async_context(tcp_server(self._server_of(receiver)))
            receiver.url = f"http://{receiver.host}:{port}"

    async def make_peace(self) -> None:
        """Be good from now on, and end what hangs."""
        self._is_peace = True
        self._peace.set()

    def strayed(self) -> int:
        """How many connections came to the address that no endpoint names, since the last call."""
        return self._sniffer.came()

    def _server_of(self, receiver: Receiver) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A notifier that is killed goes in the middle of anything.
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(receiver, reader, writer)

        return serve

    async def _serve(self, receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        does = receiver.next_behaviour(headers["webhook-id"], is_peace=self._is_peace)
        self.requests.append(
            {
                "receiver": receiver.name,
                "path": line.split(" ")[1],
                "at": time.time(),
                "headers": {name: value for name, value in headers.items() if name.startswith("webhook-")},
                "body": body.decode(),
                "did": does.value,
            }
        )
        await self._respond(does, writer)

    async def _respond(self, does: Behaviour, writer: asyncio.StreamWriter) -> None:
        if does is Behaviour.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        if does is Behaviour.RESET:
            reset(writer)
        elif does is Behaviour.HANG:
            await self._peace.wait()
        elif does is Behaviour.TRICKLE:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while not self._is_peace and not writer.is_closing():
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(TRICKLE_SECONDS)
            reset(writer)
        elif does is Behaviour.HUGE:
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {HUGE_BYTES}\r\n\r\n".encode() + b"x" * HUGE_BYTES)
            await writer.drain()
        elif does is Behaviour.REDIRECT_HERE:
            where = f"http://{UNNAMED}:{self._sniffer.port}/"
            writer.write(f"HTTP/1.1 301 Moved Permanently\r\nlocation: {where}\r\n\r\n".encode())
        else:
            writer.write(_HEADS.get(does, _HEADS[Behaviour.GOOD]))
        await writer.drain()


class ReceiverThread:
    """Runs receivers in a thread of their own."""

    def __init__(self, receivers: Receivers, loop: asyncio.AbstractEventLoop) -> None:
        self.receivers = receivers
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something where the receivers run."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@contextmanager
def receivers_at(receivers: Sequence[Receiver]) -> Iterator[ReceiverThread]:
    """Receivers that listen."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with socket.socket() as listener:
        listener.bind((UNNAMED, 0))
        listener.listen()
        listener.setblocking(False)
        stack = AsyncExitStack()
        running = ReceiverThread(Receivers(receivers, Sniffer(listener)), loop)
        try:
            running.run(running.receivers.open(stack))
            yield running
        finally:
            running.run(stack.aclose())
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
