"""Bad company for facts: they come again, much later and out of order."""

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import nats
from calotype import streams
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tests.support.patience import PATIENCE

T = TypeVar("T")
#: Facts that are remembered, and how many of them come again at once.
REMEMBERED, REPEATED = 300, 40


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
        self._tell_all([one.data for one in dice.sample(again, min(REPEATED, len(again)))])

    def _tell_all(self, bodies: list[bytes]) -> None:
        async def tell() -> None:
            context = self._client.jetstream(timeout=5.0)
            for body in bodies:
                await _publish(context, body)

        self._run(tell())


@contextmanager
def facts_at(url: str) -> Iterator[Facts]:
    """Hear the facts of a broker, whenever it is there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)

    client = run(nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.25, error_cb=_be_silent))
    try:
        facts = Facts(client, run)
        run(client.subscribe("calotype.fact.>", cb=facts.hear))
        yield facts
    finally:
        run(client.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _publish(context: JetStreamContext, body: bytes) -> None:
    """Until it is confirmed: a broker that has just started may have no streams yet."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await context.publish(f"{streams.FACT_GENERATION}.chaos", body, headers={"chaos": "yes"})
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.2)
            else:
                return


async def _be_silent(error: Exception) -> None:
    """A broker that is away is what this run is about."""
