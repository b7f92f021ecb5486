"""Bad company for facts: they come again, much later and out of order, and among others that nobody can fold."""

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import nats
from calotype import streams
from calotype.fact.v1 import fact_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tests.support.patience import PATIENCE

T = TypeVar("T")
#: Facts that are remembered, and how many of them come again at once.
REMEMBERED, REPEATED = 300, 40
SUBJECTS = f"{streams.FACT_GENERATION}.chaos", f"{streams.FACT_UPLOAD}.chaos"
#: A message of three bytes in a field that no version has so far.
_UNKNOWN_FIELD = bytes([0xFA, 0x3E, 3, 0x0A, 0x01, 0x78])


class Facts:
    """Hears all facts, and tells some of its own."""

    def __init__(self, client: Client, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._client = client
        self._run = run
        self._heard: deque[Msg] = deque(maxlen=REMEMBERED)

    async def hear(self, message: Msg) -> None:
        """Remember a fact."""
        if "chaos" not in (message.headers or {}):
            self._heard.append(message)

    def repeat(self, dice: random.Random) -> None:
        """Tell many facts again, out of order; as new messages, so that the broker stores them all."""
        again = list(self._heard)
        self._tell_all([(one.subject, one.data) for one in dice.sample(again, min(REPEATED, len(again)))])

    def poison(self, dice: random.Random) -> None:
        """Tell what cannot be folded, of jobs that are there and of others; of each kind more than one."""
        heard = dice.sample([*self._heard], min(3, len(self._heard)))
        told = [fact_pb2.Fact.FromString(one.data) for one in heard]
        subjects = [one.subject for one in heard]
        bodies = [dice.randbytes(200), *_of_nobody(dice)]
        self._tell_all(
            [
                *zip(subjects, map(_of_the_future, told), strict=True),
                *zip(subjects, map(_of_nothing, told), strict=True),
                # What one service may state comes from the other.
                *((dice.choice(SUBJECTS), one.data) for one in heard),
                *((dice.choice(SUBJECTS), body) for body in bodies),
            ]
        )

    def leader(self) -> str | None:
        """Name of the server that leads the stream of facts; None while nobody says so."""
        found: list[str | None] = [None]

        async def look() -> None:
            with suppress(nats.errors.Error, TimeoutError):
                stream = await self._client.jetstream(timeout=5.0).stream_info(streams.FACTS["name"])
                found[0] = stream.cluster.leader if stream.cluster else None

        self._run(look())
        return found[0]

    def _tell_all(self, told: list[tuple[str, bytes]]) -> None:
        async def tell() -> None:
            context = self._client.jetstream(timeout=5.0)
            for subject, body in told:
                await _publish(context, subject, body)

        self._run(tell())


@contextmanager
def facts_at(url: str) -> Iterator[Facts]:
    """Hear the facts of a broker, or of a cluster's several with commas between them, whenever it is there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)

    client = run(nats.connect(url.split(","), max_reconnect_attempts=-1, reconnect_time_wait=0.25, error_cb=_be_silent))
    try:
        facts = Facts(client, run)
        run(client.subscribe("calotype.fact.>", cb=facts.hear))
        yield facts
    finally:
        run(client.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _of_the_future(fact: fact_pb2.Fact) -> bytes:
    """Of a type that only a later version knows."""
    return bytes(fact_pb2.Fact(id=fact.id).SerializeToString() + _UNKNOWN_FIELD)


def _of_nothing(fact: fact_pb2.Fact) -> bytes:
    """Of a known type, and empty."""
    kind = fact.WhichOneof("fact")
    empty = fact_pb2.Fact(id=fact.id)
    if kind is not None:
        getattr(empty, kind).SetInParent()
    return bytes(empty.SerializeToString())


def _of_nobody(dice: random.Random) -> list[bytes]:
    """Of jobs and calls that are not there, with what no text may hold, and with far too many words."""
    found = []
    for job_id in ("job_00000000000000000000000000000000", "\0", "x" * 600_000):
        fence = fact_pb2.Fence(job_id=job_id, claim_number=dice.randrange(-5, 5), lease_token="\0")
        fact = fact_pb2.Fact(id=str(dice.getrandbits(64)), images_generated=fact_pb2.ImagesGenerated(fence=fence))
        fact.images_generated.calls.add(call_id="\0", phase=77)
        found.append(bytes(fact.SerializeToString()))
    return found


async def _publish(context: JetStreamContext, subject: str, body: bytes) -> None:
    """Until it is confirmed: a broker that has just started may have no streams yet."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await context.publish(subject, body, headers={"chaos": "yes"})
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.2)
            else:
                return


async def _be_silent(error: Exception) -> None:
    """A broker that is away is what this run is about."""
