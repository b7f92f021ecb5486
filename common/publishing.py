"""Publishing of facts until the broker has confirmed them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from common.ids import new_uuid7
from common.jetstream import BrokerUnavailable, MessageTooLarge
from common.logs import event
from common.loops import pause_until

_LOG = logging.getLogger(__name__)
#: First and longest pause in seconds between two attempts.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Facts that are published in the background at most; one more keeps its slot, so that their number has a bound.
MOST_IN_BACKGROUND = 1000
#: Seconds that a process which stops leaves for them, of the time that it may take to end.
FINISH_SECONDS = 20.0

#: Publishes one fact under the id it is given; raises `BrokerUnavailable`, `MessageTooLarge` or `ValueError`.
Publish = Callable[[str], Awaitable[None]]


async def publish_until_confirmed(publish: Publish, *, until: asyncio.Event, fact_id: str = "") -> bool:
    """Publish under one id, at least once, until the broker has confirmed or `until` is set; False if it was set first.

    The worker keeps its lease meanwhile, so an outage of the broker loses nothing. A fact that the broker can never
    take is dropped with an error in the log: its job is rescued, and staging and ledger hold what was bought.
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


class BackgroundPublisher:
    """Publishes what calls came to, which nobody else knows; goes on in the background when the lease ends first.

    So no fact is dropped, and none holds a slot whose job another worker has by now.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[bool]] = set()

    async def publish(self, publish: Publish, *, lease_ended: asyncio.Event) -> None:
        """Return once the fact is confirmed, or the lease has ended and it is published in the background."""
        fact_id = str(new_uuid7())
        if await publish_until_confirmed(publish, until=lease_ended, fact_id=fact_id):
            return
        going_on = publish_until_confirmed(publish, until=asyncio.Event(), fact_id=fact_id)
        if len(self._tasks) >= MOST_IN_BACKGROUND:
            await going_on
            return
        task = asyncio.create_task(going_on)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, *, seconds: float = FINISH_SECONDS) -> None:
        """Wait for facts in the background, at most so long; what is not confirmed by then is lost with the process."""
        if not self._tasks:
            return
        _, pending = await asyncio.wait(self._tasks, timeout=seconds)
        if pending:
            event(_LOG, logging.ERROR, "facts.untold", facts=len(pending))
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
