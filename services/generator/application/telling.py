"""State facts until they are safe."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from common.ids import new_uuid7
from common.jetstream import BrokerUnavailable, MessageTooLarge
from common.logs import event
from common.loops import pause_until

_LOG = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Facts that are told beside at most; one more keeps its slot, so that what is not told has a bound.
MOST_BESIDE = 1000
#: What a process that has stopped has left for them, of the time that it may take to end.
PARTING_SECONDS = 20.0

Publish = Callable[[str], Awaitable[None]]


async def tell(publish: Publish, *, until: asyncio.Event, fact_id: str = "") -> bool:
    """Publish under one id until the broker has confirmed, or `until` is set; False when it was set before.

    The worker keeps its lease meanwhile: what happened is not forgotten because a broker is away. A fact that no broker
    takes, however often it is tried, is given up with an alarm: its job is rescued, and finds in staging and in the
    ledger what can be had.
    """
    fact_id, pause = fact_id or str(new_uuid7()), FIRST_PAUSE
    while True:
        try:
            await publish(fact_id)
        except (MessageTooLarge, ValueError) as error:
            event(_LOG, logging.ERROR, "fact.cannot_be_told", fact_id=fact_id, error=str(error))
            return True
        except BrokerUnavailable as error:
            event(_LOG, logging.WARNING, "fact.not_published", error=str(error))
            if await pause_until(until, seconds=pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return True


class Teller:
    """Tells what calls came to, which nobody else knows. Where the lease ends first, it is told on beside the slots.

    So no fact is dropped, and none holds a slot whose job is another's by now.
    """

    def __init__(self) -> None:
        self._beside: set[asyncio.Task[bool]] = set()

    async def tell(self, publish: Publish, *, lease_ended: asyncio.Event) -> None:
        """Return once it is safe, or the lease has ended and it is told beside."""
        fact_id = str(new_uuid7())
        if await tell(publish, until=lease_ended, fact_id=fact_id):
            return
        going_on = tell(publish, until=asyncio.Event(), fact_id=fact_id)
        if len(self._beside) >= MOST_BESIDE:
            await going_on
            return
        task = asyncio.create_task(going_on)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def finish(self, *, seconds: float = PARTING_SECONDS) -> None:
        """Wait for what is told beside, at most so long; what is not told by then is lost with the process."""
        if not self._beside:
            return
        _, untold = await asyncio.wait(self._beside, timeout=seconds)
        if untold:
            event(_LOG, logging.ERROR, "facts.untold", facts=len(untold))
        for task in untold:
            task.cancel()
        await asyncio.gather(*untold, return_exceptions=True)
