"""Reading from JetStream: handlers say what is to become of a message, only the runner here touches it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.msg import Msg

from common.declarations import ConsumerSpec
from common.jetstream import FAILURES, BrokerUnavailable, JetStream, MessageTooLarge
from common.logs import event
from common.loops import pause_until
from common.pulling import Subscription

_LOG = logging.getLogger(__name__)
#: Headers of a message that was put aside: why, where it was, and since when, however often it has been tried again.
DEAD_REASON, DEAD_SUBJECT = "Calotype-Dead-Reason", "Calotype-Dead-Subject"
PARKED_REASON, PARKED_SUBJECT, PARKED_AT = "Calotype-Parked-Reason", "Calotype-Parked-Subject", "Calotype-Parked-At"
LONGEST_REASON = 500


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as handlers see it."""

    subject: str
    body: bytes
    headers: Mapping[str, str]
    stream_sequence: int
    delivered: int


@dataclass(frozen=True)
class Ack:
    """Done for good."""


@dataclass(frozen=True)
class Retry:
    """Bring it again after so many seconds."""

    after_seconds: float


@dataclass(frozen=True)
class Reject:
    """It will never be right: to the dead letters, with the reason."""

    reason: str


@dataclass(frozen=True)
class Park:
    """Not now and not soon: aside, where it holds up nobody and is found again, with the reason."""

    reason: str


Verdict = Ack | Retry | Park | Reject
HandleBatch = Callable[[Sequence[Message]], Awaitable[Sequence[Verdict]]]


class WakeUps:
    """Wake-ups: fetched, acknowledged at once, and counted; what they say does not matter.

    Their consumer is declared by whoever publishes them.
    """

    def __init__(self, broker: JetStream, spec: ConsumerSpec) -> None:
        self._subscription = Subscription(broker, spec, declares=False)

    async def wait(self, most: int, *, seconds: float) -> int:
        """Wait for a hint, at most so long; returns how many came, at most `most`."""
        messages = await self._subscription.fetch(most, wait_seconds=seconds)
        for message in messages:
            try:
                await message.ack()
            except FAILURES as error:
                # The hint was heard all the same; the broker brings it again after the ack wait, which costs one look.
                event(_LOG, logging.DEBUG, "hint.not_acknowledged", error=type(error).__name__)
        return len(messages)


async def consume(
    broker: JetStream,
    spec: ConsumerSpec,
    handle: HandleBatch,
    *,
    stop: asyncio.Event,
    may_fetch: Callable[[], bool] = lambda: True,
    batch: int = 256,
    parked_subject: str,
    dead_subject: str,
) -> None:
    """Hand batches to the handler and do to each message what it says, until `stop` is set.

    Messages are acknowledged after the handler returned, and the acknowledgement is confirmed. While `may_fetch` says
    no, nothing is fetched and nothing is lost: the stream keeps it.
    """
    subscription = Subscription(broker, spec)
    while not stop.is_set():
        if not may_fetch():
            await pause_until(stop, seconds=0.2)
            continue
        messages = await subscription.fetch(batch, wait_seconds=1.0)
        if messages:
            verdicts = await handle([_seen(message) for message in messages])
            await asyncio.gather(
                *(
                    _settle(broker, message, verdict, parked_subject=parked_subject, dead_subject=dead_subject)
                    for message, verdict in zip(messages, verdicts, strict=True)
                )
            )
    await subscription.close()


async def _settle(broker: JetStream, message: Msg, verdict: Verdict, *, parked_subject: str, dead_subject: str) -> None:
    try:
        match verdict:
            case Ack():
                await message.ack_sync(timeout=5)
            case Retry(after_seconds):
                await message.nak(delay=after_seconds)
            case Park(reason):
                await _park(broker, message, reason, parked_subject)
                await message.ack_sync(timeout=5)
            case Reject(reason):
                await _bury(broker, message, reason, dead_subject)
                await message.term()
    except (*FAILURES, BrokerUnavailable) as error:
        # The broker brings it again after the ack wait, and the handler must bear that anyway.
        event(_LOG, logging.WARNING, "message.not_settled", subject=message.subject, error=type(error).__name__)
    except Exception:  # noqa: BLE001 - no message may end the reading of the others
        _LOG.exception("message.not_settled", extra={"subject": message.subject})


async def _park(broker: JetStream, message: Msg, reason: str, parked_subject: str) -> None:
    seen = _seen(message)
    headers = passed_on(seen.headers) | {
        PARKED_REASON: one_line(reason),
        PARKED_SUBJECT: seen.subject,
        PARKED_AT: seen.headers.get(PARKED_AT) or datetime.now(UTC).isoformat(),
    }
    message_id = f"parked-{message.metadata.stream}-{seen.stream_sequence}"
    await broker.publish(parked_subject, seen.body, message_id=message_id, headers=headers)
    event(_LOG, logging.WARNING, "message.parked", subject=seen.subject, reason=reason)


async def _bury(broker: JetStream, message: Msg, reason: str, dead_subject: str) -> None:
    seen = _seen(message)
    message_id = f"dead-{message.metadata.stream}-{seen.stream_sequence}"
    await bury(
        broker, seen.body, seen.headers, subject=seen.subject, reason=reason, to=dead_subject, message_id=message_id
    )


async def bury(
    broker: JetStream, body: bytes, headers: Mapping[str, str], *, subject: str, reason: str, to: str, message_id: str
) -> None:
    """Put a message of a subject among the dead ones. Raises `BrokerUnavailable`."""
    told = passed_on(headers) | {DEAD_REASON: one_line(reason), DEAD_SUBJECT: subject}
    try:
        await broker.publish(to, body, message_id=message_id, headers=told)
    except MessageTooLarge:
        # It came with fewer headers, and just fitted. What it was about is worth more than nothing.
        cut = told | {DEAD_REASON: one_line(f"(its {len(body)} bytes did not fit) {reason}")}
        await broker.publish(to, b"", message_id=message_id, headers=cut)
    event(_LOG, logging.ERROR, "message.buried", subject=subject, reason=reason)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """A message's own headers, for one that holds the same; without the broker's, and fit to be sent again."""
    return {name: one_line(value) for name, value in headers.items() if not name.startswith("Nats-")}


def one_line(words: str) -> str:
    """Words as a header bears them."""
    return " ".join(words.encode("ascii", "backslashreplace").decode().split())[:LONGEST_REASON]


def _seen(message: Msg) -> Message:
    about = message.metadata
    return Message(
        subject=message.subject,
        body=message.data,
        headers={name: str(value) for name, value in (message.headers or {}).items()},
        stream_sequence=about.sequence.stream,
        delivered=about.num_delivered,
    )
