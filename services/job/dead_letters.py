"""Dead letters: messages that the fact consumer refused for good; listed and replayed by operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from calotype import streams
from calotype.error_reasons import Reason

from common.jetstream import JetStream, StoredMessage
from common.postgres import Database
from services.job.domain.refusals import Refusal
from services.job.store import idempotency

#: Stream and subjects of dead letters.
DEAD = streams.DEAD_LETTERS["name"], f"{streams.DEAD}.>"
#: Stream and subjects of parked facts.
PARKED = streams.PARKED_FACTS["name"], f"{streams.PARKED}.>"
#: Prefix of the subjects to which a message may be replayed: the fact consumer's alone.
REPLAYABLE = "calotype.fact."
#: Prefixes of headers that were added when the message was set aside.
ADDED = ("Calotype-Dead-", "Calotype-Parked-", "Nats-")


@dataclass(frozen=True, kw_only=True)
class DeadLetterPage:
    """A page of dead letters."""

    #: Oldest first.
    messages: Sequence[StoredMessage]
    #: Sequence of the next page's first message; None at the end.
    next_sequence: int | None


class DeadLetters:
    """The stream of dead letters."""

    def __init__(self, broker: JetStream, database: Database) -> None:
        self._broker = broker
        self._database = database

    async def page(self, *, first: int, limit: int, parked: bool = False) -> DeadLetterPage:
        """Returns up to `limit` dead letters or parked facts from a sequence on. Raises `BrokerUnavailable`."""
        found: list[StoredMessage] = []
        stream, subjects = PARKED if parked else DEAD
        while (message := await self._broker.stored(stream, first, subject=subjects)) is not None:
            if len(found) == limit:
                return DeadLetterPage(messages=found, next_sequence=message.sequence)
            found.append(message)
            first = message.sequence + 1
        return DeadLetterPage(messages=found, next_sequence=None)

    async def replay(self, sequence: int, *, idempotency_key: str = "") -> bool:
        """Publishes a dead letter again and deletes it; returns whether its key was used for that before.

        The message id is the dead letter's own, so that two calls at once publish it once; a later repetition is a fact
        that is applied already. The key is recorded first: from then on the letter is deleted by this call or the next.
        Raises `Refusal` NOT_FOUND, `BrokerUnavailable`, `DatabaseUnavailable`.
        """
        key = idempotency.Key(tenant="", scope=f"dead/{sequence}/replay", key=idempotency_key)
        stream, subjects = DEAD
        message = await self._broker.stored(stream, sequence, subject=subjects)
        if message is None or message.sequence != sequence:
            if bool(idempotency_key) and await self._database.run(
                lambda connection: idempotency.is_used(connection, key)
            ):
                return True
            raise Refusal(Reason.NOT_FOUND, "There is no such dead letter; it may have been replayed.")
        subject = message.headers.get("Calotype-Dead-Subject", "")
        if not subject.startswith(REPLAYABLE):
            raise Refusal(Reason.NOT_FOUND, f"A message on {subject[:100]!r} cannot be replayed.")
        if idempotency_key:
            about = message.headers.get("ce-subject", "")
            await self._database.run(
                lambda connection: idempotency.assign(connection, key, fingerprint="", job_id=about)
            )
        kept = {name: value for name, value in message.headers.items() if not name.startswith(ADDED)}
        await self._broker.publish(
            subject, message.body, message_id=f"replay-{sequence}-{message.stored_at.timestamp()}", headers=kept
        )
        await self._broker.delete_stored(stream, sequence)
        return False
