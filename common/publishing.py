"""Publication of facts until the broker has confirmed them."""

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
#: Limit on facts that are published in the background; beyond it, a fact keeps its slot until it is confirmed.
MAX_IN_BACKGROUND = 1000
#: Seconds for which a process that stops waits for facts in the background.
FINISH_SECONDS = 20.0

#: Publishes one fact under the given id; raises `BrokerUnavailable`, `MessageTooLarge` or `ValueError`.
Publish = Callable[[str], Awaitable[None]]


async def publish_until_confirmed(publish: Publish, *, until: asyncio.Event, fact_id: str = "") -> bool:
    """Publishes a fact under one id until the broker has confirmed it; returns False when `until` was set before that.

    At least one attempt is made. The worker keeps its lease meanwhile, so an outage of the broker loses nothing. A fact
    that can never be published is logged as an error and dropped: its job is rescued, and the staging bucket and the
    ledger hold the images and calls that were paid for. An empty `fact_id` stands for a new one.
    """
    fact_id, pause = fact_id or str(new_uuid7()), FIRST_PAUSE
    while True:
        try:
            await publish(fact_id)
        except (MessageTooLarge, ValueError) as error:
            event(_LOG, logging.ERROR, "fact.rejected", fact_id=fact_id, reason=str(error))
            return True
        except BrokerUnavailable as error:
            event(_LOG, logging.WARNING, "fact.not_published", reason=str(error))
            if await pause_until(until, seconds=pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return True


class BackgroundPublisher:
    """Publishes results of provider calls, which only this process knows; continues in the background after the lease.

    So no fact is dropped, and none keeps a slot busy whose job another worker may hold by now.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[bool]] = set()

    async def publish(self, publish: Publish, *, lease_ended: asyncio.Event) -> None:
        """Publishes a fact; returns once it is confirmed, or once the lease has ended and publication continues."""
        fact_id = str(new_uuid7())
        if await publish_until_confirmed(publish, until=lease_ended, fact_id=fact_id):
            return
        publication = publish_until_confirmed(publish, until=asyncio.Event(), fact_id=fact_id)
        if len(self._tasks) >= MAX_IN_BACKGROUND:
            await publication
            return
        task = asyncio.create_task(publication)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, *, seconds: float = FINISH_SECONDS) -> None:
        """Waits up to `seconds` for facts in the background; unconfirmed facts are lost with the process."""
        if not self._tasks:
            return
        _, pending = await asyncio.wait(self._tasks, timeout=seconds)
        if pending:
            event(_LOG, logging.ERROR, "facts.lost", facts=len(pending))
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
