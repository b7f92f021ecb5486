"""Parked facts: those that could not be folded when they came, tried again while they are young."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from calotype import streams

from common.consuming import PARKED_AT, PARKED_REASON, PARKED_SUBJECT, bury, passed_on
from common.jetstream import JetStream, StoredMessage
from common.logs import event
from common.loops import run_every
from services.job.dead_letters import PARKED, REPLAYABLE
from services.job.messages.from_protobuf import is_known

_LOG = logging.getLogger(__name__)
STREAM, SUBJECTS = PARKED
#: How often (seconds) they are looked at, and how long they may wait for a version that knows them.
INTERVAL = 60.0
PATIENCE = timedelta(days=1)


class ParkedFacts:
    """Brings parked facts back to where they came from; runs in every replica, as each step may be done twice."""

    def __init__(self, broker: JetStream) -> None:
        self._broker = broker

    async def run(self, stop: asyncio.Event) -> None:
        """Look at once, as this version may know what the last did not, and then again and again."""
        await run_every("parked_facts", self.run_once, interval=INTERVAL, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Look at every one; returns counts. Raises `BrokerUnavailable`."""
        counts, sequence, oldest = {"brought_back": 0, "buried": 0, "waiting": 0}, 1, timedelta()
        while (message := await self._broker.stored(STREAM, sequence, subject=SUBJECTS)) is not None:
            sequence, age = message.sequence + 1, datetime.now(UTC) - _since(message)
            if age > PATIENCE or not message.headers.get(PARKED_SUBJECT, "").startswith(REPLAYABLE):
                await self._bury(message)
                counts["buried"] += 1
            elif is_known(message.body):
                await self._bring_back(message)
                counts["brought_back"] += 1
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

    async def _bring_back(self, message: StoredMessage) -> None:
        # It keeps saying since when it has waited: one that is parked again has its day only once.
        kept = {
            name: value
            for name, value in passed_on(message.headers).items()
            if name not in (PARKED_REASON, PARKED_SUBJECT)
        }
        message_id = f"unparked-{message.sequence}-{message.stored_at.timestamp()}"
        await self._broker.publish(message.headers[PARKED_SUBJECT], message.body, message_id=message_id, headers=kept)
        await self._broker.delete_stored(STREAM, message.sequence)

    async def _bury(self, message: StoredMessage) -> None:
        await bury(
            self._broker,
            message.body,
            message.headers,
            subject=message.headers.get(PARKED_SUBJECT, ""),
            reason=f"it waited in vain: {message.headers.get(PARKED_REASON, '')}",
            to=streams.DEAD_FACT,
            message_id=f"dead-{STREAM}-{message.sequence}-{message.stored_at.timestamp()}",
        )
        await self._broker.delete_stored(STREAM, message.sequence)


def _since(message: StoredMessage) -> datetime:
    """When it was parked first."""
    try:
        told = datetime.fromisoformat(message.headers.get(PARKED_AT, ""))
    except ValueError:
        return message.stored_at
    return told if told.tzinfo else message.stored_at
