"""Wake-ups from the broker: messages that jobs have ended."""

import asyncio
import logging
from collections.abc import Callable

from calotype import streams
from nats.aio.msg import Msg

from common.declarations import ConsumerSpec
from common.jetstream import FAILURES, JetStream
from common.logs import event
from common.pulling import Subscription
from services.notifier.domain.events import JOB_EVENTS

_LOG = logging.getLogger(__name__)
#: Types of messages about final events.
FINAL_TYPES = frozenset(f"calotype.{type_}" for type_ in JOB_EVENTS)
#: Messages that are fetched at once, and the longest wait for one in seconds.
MAX_BATCH, WAIT_SECONDS = 256, 5.0


class EventWakeUps:
    """Calls `wake` when jobs have ended; the feed of final events says which.

    job-service publishes each change of a job, and declares the consumer.
    """

    def __init__(self, broker: JetStream, wake: Callable[[], None]) -> None:
        self._subscription = Subscription(broker, ConsumerSpec(**streams.NOTIFIER_WAKE), declares=False)
        self._wake = wake

    async def run(self, stop: asyncio.Event) -> None:
        """Receives messages until `stop` is set."""
        while not stop.is_set():
            messages = await self._subscription.fetch(MAX_BATCH, wait_seconds=WAIT_SECONDS)
            if any(_is_final(message) for message in messages):
                self._wake()
            for message in messages:
                await _acknowledge(message)


def _is_final(message: Msg) -> bool:
    """Whether a message may be about a final event: its type says so, or is missing."""
    type_ = (message.headers or {}).get("ce-type")
    return type_ is None or type_ in FINAL_TYPES


async def _acknowledge(message: Msg) -> None:
    try:
        await message.ack()
    except FAILURES as error:
        # The broker delivers it again after the ack wait: the feed is read once more than needed.
        event(_LOG, logging.DEBUG, "wakeup.not_acknowledged", reason=type(error).__name__)
