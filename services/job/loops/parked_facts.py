"""Parked facts: facts that this version could not apply; tried again for a day."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from calotype import streams

from common.consuming import PARKED_AT, PARKED_REASON, PARKED_SUBJECT, passed_on, publish_dead_letter
from common.jetstream import JetStream, StoredMessage
from common.logs import event
from common.loops import run_every
from services.job.dead_letters import PARKED, REPLAYABLE
from services.job.messages.from_protobuf import is_known

_LOG = logging.getLogger(__name__)
STREAM, SUBJECTS = PARKED
#: Seconds between two checks.
INTERVAL = 60.0
#: Time for which a fact may wait for a version that knows it.
PATIENCE = timedelta(days=1)


class ParkedFacts:
    """Returns parked facts to their subjects; runs in every replica, as each step may be repeated."""

    def __init__(self, broker: JetStream) -> None:
        self._broker = broker

    async def run(self, stop: asyncio.Event) -> None:
        """Checks at once, as this version may know more types than the one before, then every `INTERVAL`."""
        await run_every("parked_facts", self.run_once, interval=INTERVAL, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Checks every parked fact; returns counts. Raises `BrokerUnavailable`."""
        counts, sequence, oldest = {"returned": 0, "dead_lettered": 0, "waiting": 0}, 1, timedelta()
        while (message := await self._broker.stored(STREAM, sequence, subject=SUBJECTS)) is not None:
            sequence, age = message.sequence + 1, datetime.now(UTC) - _since(message)
            if age > PATIENCE or not message.headers.get(PARKED_SUBJECT, "").startswith(REPLAYABLE):
                await self._dead_letter(message)
                counts["dead_lettered"] += 1
            elif is_known(message.body):
                await self._return(message)
                counts["returned"] += 1
            else:
                counts["waiting"] += 1
                oldest = max(oldest, age)
        if counts["waiting"]:
            event(
                _LOG,
                logging.WARNING,
                "facts.parked",
                facts=counts["waiting"],
                oldest_seconds=int(oldest.total_seconds()),
            )
        return counts

    async def _return(self, message: StoredMessage) -> None:
        # The time of parking stays: a fact that is parked again has one day in all.
        kept = {
            name: value
            for name, value in passed_on(message.headers).items()
            if name not in (PARKED_REASON, PARKED_SUBJECT)
        }
        message_id = f"unparked-{message.sequence}-{message.stored_at.timestamp()}"
        await self._broker.publish(message.headers[PARKED_SUBJECT], message.body, message_id=message_id, headers=kept)
        await self._broker.delete_stored(STREAM, message.sequence)

    async def _dead_letter(self, message: StoredMessage) -> None:
        await publish_dead_letter(
            self._broker,
            message.body,
            message.headers,
            subject=message.headers.get(PARKED_SUBJECT, ""),
            reason=f"it was parked for too long: {message.headers.get(PARKED_REASON, '')}",
            to=streams.DEAD_FACT,
            message_id=f"dead-{STREAM}-{message.sequence}-{message.stored_at.timestamp()}",
        )
        await self._broker.delete_stored(STREAM, message.sequence)


def _since(message: StoredMessage) -> datetime:
    """Returns the time at which the fact was first parked."""
    try:
        parked_at = datetime.fromisoformat(message.headers.get(PARKED_AT, ""))
    except ValueError:
        return message.stored_at
    return parked_at if parked_at.tzinfo else message.stored_at
