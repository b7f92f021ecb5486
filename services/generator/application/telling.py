"""State a fact until it is safe."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from common.ids import new_uuid7
from common.jetstream import BrokerUnavailable
from common.logs import event
from common.loops import pause_until

_LOG = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


async def tell(publish: Callable[[str], Awaitable[None]], *, until: asyncio.Event) -> bool:
    """Publish under one id until the broker has confirmed, or `until` is set; tells whether it is safe.

    The worker keeps its lease meanwhile: what happened is not forgotten because a broker is away.
    """
    fact_id, pause = str(new_uuid7()), FIRST_PAUSE
    while True:
        try:
            await publish(fact_id)
        except BrokerUnavailable as error:
            event(_LOG, logging.WARNING, "fact.not_published", error=str(error))
            if await pause_until(until, seconds=pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return True
