"""Links between the parts of a stack: proxies that are slow, pass one direction only, break off, and refuse.

    python -m tests.chaos.links CONTROL LINKS

CONTROL is a port that takes one line of JSON per connection, LINKS a list of links as JSON: name, port, and the
address that it leads to. Several of one name are one link.
"""

import asyncio
import json
import random
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial

from tests.support.patience import PATIENCE

CHUNK = 16_384
#: What a slow link takes for each chunk, in seconds.
SLOW_SECONDS = 0.1
#: How a server says that it is unwell.
REFUSALS = ("503 Service Unavailable", "429 Too Many Requests", "500 Internal Server Error")


class Condition(StrEnum):
    """How a link is."""

    GOOD = "good"
    SLOW = "slow"
    UNHEARD = "unheard"
    """What the client says arrives once the link is good again, though the client may have gone meanwhile."""
    UNANSWERED = "unanswered"
    """What the server says arrives once the link is good again."""
    BREAKING = "breaking"
    """Each connection ends with a part of the server's next words."""
    UNWELL = "unwell"
    """Open connections end, and each new one is refused by words of HTTP."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """A port of 127.0.0.1 that leads to another, over the link of that name."""

    link: str
    port: int
    to: int


class Links:
    """The links of a running program, by its control port."""

    def __init__(self, control: int) -> None:
        self._control = control

    def cut(self, link: str) -> None:
        """End all connections of a link."""
        self._tell(link, "cut")

    @contextmanager
    def being(self, link: str, condition: Condition) -> Iterator[None]:
        """A link in a condition, and good again afterwards."""
        self._tell(link, condition)
        try:
            yield
        finally:
            self._tell(link, Condition.GOOD)

    def _tell(self, link: str, order: str) -> None:
        with socket.create_connection(("127.0.0.1", self._control), timeout=PATIENCE) as connection:
            connection.sendall(json.dumps({"link": link, "order": order}).encode() + b"\n")
            answer = connection.makefile("rb").readline()
        assert answer == b"ok\n", f"{order} {link}: {answer!r}"


def are_up(control: int) -> bool:
    """Whether the program with that control port works."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", control), timeout=1.0):
        return True
    return False


class _Link:
    """What all connections of a link share."""

    def __init__(self, dice: random.Random) -> None:
        self.condition = Condition.GOOD
        self.dice = dice
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()

    def become(self, condition: Condition) -> None:
        """Change the condition; who waits for it goes on."""
        self.condition = condition
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if condition is Condition.UNWELL:
            self.cut()

    def cut(self) -> None:
        """End all connections at once, as a crash of the machine between would."""
        for writer in self._writers:
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held_in: Condition) -> None:
        """Take bytes from one end to the other until there are no more; in one condition they are held."""
        while chunk := await reader.read(CHUNK):
            if self.condition is Condition.SLOW:
                await asyncio.sleep(SLOW_SECONDS)
            while self.condition is held_in:
                await self._changed.wait()
            if self.condition is Condition.BREAKING and held_in is Condition.UNANSWERED:
                writer.write(chunk[: self.dice.randrange(len(chunk))])
                await writer.drain()
                raise ConnectionAbortedError
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()

    async def connect(self, to: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection over the link, to its end."""
        ends = [writer]
        self._writers.add(writer)
        try:
            if self.condition is Condition.UNWELL:
                await self._refuse(reader, writer)
                return
            there, back = await asyncio.open_connection("127.0.0.1", to)
            ends.append(back)
            self._writers.add(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(self.carry(reader, back, Condition.UNHEARD))
                both.create_task(self.carry(there, writer, Condition.UNANSWERED))
        except* (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # One end has gone, it was cut, or it does not speak HTTP.
            for end in ends:
                end.transport.abort()
        finally:
            for end in ends:
                self._writers.discard(end)
                end.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        stated = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(stated[1]) if stated else 0)
        refusal = self.dice.choice(REFUSALS)
        writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()


async def _serve(control: int, routes: Sequence[Route]) -> None:
    dice = random.Random(control)
    links = {name: _Link(dice) for name in {route.link for route in routes}}
    for route in routes:
        await asyncio.start_server(partial(links[route.link].connect, route.to), "127.0.0.1", route.port)

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ValueError, KeyError, OSError):
            _obey(links, json.loads(await reader.readline()))
            writer.write(b"ok\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(obey, "127.0.0.1", control)
    await server.serve_forever()


def _obey(links: Mapping[str, _Link], told: Mapping[str, str]) -> None:
    if told["order"] == "cut":
        links[told["link"]].cut()
    else:
        links[told["link"]].become(Condition(told["order"]))


def arguments(control: int, routes: Sequence[Route]) -> tuple[str, ...]:
    """How the program is started."""
    return (sys.executable, "-m", "tests.chaos.links", str(control), json.dumps([asdict(one) for one in routes]))


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), [Route(**one) for one in json.loads(sys.argv[2])]))
