"""Dead letters: what the consumer refused for good, listed and replayed."""

from collections.abc import Sequence
from dataclasses import dataclass

from calotype import streams

from common.jetstream import JetStream, StoredMessage
from common.postgres import Database
from services.job.domain.refusals import Refusal
from services.job.store import idempotency

#: Streams of what is put aside, and their subjects.
DEAD = streams.DEAD_LETTERS["name"], f"{streams.DEAD}.>"
PARKED = streams.PARKED_FACTS["name"], f"{streams.PARKED}.>"
#: Where a replayed message may go: to those who fold facts, and nowhere else.
REPLAYABLE = "calotype.fact."
#: Headers that the burial added.
ADDED = ("Calotype-Dead-", "Calotype-Parked-", "Nats-")


@dataclass(frozen=True, kw_only=True)
class DeadLetterPage:
    """Dead letters from the oldest on, and the sequence to go on with; None at the end."""

    messages: Sequence[StoredMessage]
    next_sequence: int | None


class DeadLetters:
    """The stream of dead letters."""

    def __init__(self, broker: JetStream, database: Database) -> None:
        self._broker = broker
        self._database = database

    async def page(self, *, first: int, limit: int, parked: bool = False) -> DeadLetterPage:
        """At most so many from a sequence on; or of what is parked. Raises `BrokerUnavailable`."""
        found: list[StoredMessage] = []
        stream, subjects = PARKED if parked else DEAD
        while (message := await self._broker.stored(stream, first, subject=subjects)) is not None:
            if len(found) == limit:
                return DeadLetterPage(messages=found, next_sequence=message.sequence)
            found.append(message)
            first = message.sequence + 1
        return DeadLetterPage(messages=found, next_sequence=None)

    async def replay(self, sequence: int, *, idempotency_key: str = "") -> bool:
        """Publish one again, then forget it; whether the key had done so before.

        The message id is the letter's own, so that two who replay it at once publish it once; later, whoever folds it
        finds its fact known. The key is written down first: once it is, the letter goes, with this call or the next.
        Raises `Refusal` NOT_FOUND, `BrokerUnavailable`, `DatabaseUnavailable`.
        """
        key = idempotency.Key(tenant="", scope=f"dead/{sequence}/replay", key=idempotency_key)
        stream, subjects = DEAD
        message = await self._broker.stored(stream, sequence, subject=subjects)
        if message is None or message.sequence != sequence:
            if bool(idempotency_key) and await self._database.run(
                lambda connection: idempotency.is_taken(connection, key)
            ):
                return True
            raise Refusal("NOT_FOUND", "There is no such dead letter; it may have been replayed.")
        subject = message.headers.get("Calotype-Dead-Subject", "")
        if not subject.startswith(REPLAYABLE):
            raise Refusal("NOT_FOUND", f"A message on {subject[:100]!r} cannot be replayed.")
        if idempotency_key:
            about = message.headers.get("ce-subject", "")
            await self._database.run(lambda connection: idempotency.take(connection, key, fingerprint="", job_id=about))
        kept = {name: value for name, value in message.headers.items() if not name.startswith(ADDED)}
        await self._broker.publish(
            subject, message.body, message_id=f"replay-{sequence}-{message.stored_at.timestamp()}", headers=kept
        )
        await self._broker.delete_stored(stream, sequence)
        return False
