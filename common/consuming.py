"""Consuming from JetStream: handlers return a verdict for each message; only the runner here acts on the message."""

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
from common.messaging_spans import end_processing, open_processing
from common.pulling import Subscription
from common.telemetry import metrics, registry

_LOG = logging.getLogger(__name__)
#: Headers of dead-lettered and parked messages: reason, original subject, and the time at which it was first parked.
DEAD_REASON, DEAD_SUBJECT = "Calotype-Dead-Reason", "Calotype-Dead-Subject"
PARKED_REASON, PARKED_SUBJECT, PARKED_AT = "Calotype-Parked-Reason", "Calotype-Parked-Subject", "Calotype-Parked-At"
#: Characters of a header's value that are sent; the rest is cut off.
MAX_HEADER_LENGTH = 500
#: Messages that a handler gets at once.
MAX_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as handlers get it."""

    #: Subject under which the message was published.
    subject: str
    #: Payload, as published.
    body: bytes
    #: Headers as published; those of the broker begin with `Nats-`.
    headers: Mapping[str, str]
    #: Position of the message in its stream, from 1.
    stream_sequence: int
    #: Deliveries so far, this one included.
    delivered: int


@dataclass(frozen=True)
class Ack:
    """The message is handled; the broker need not deliver it again."""


@dataclass(frozen=True)
class Retry:
    """The message is to be delivered again later."""

    #: Seconds until the next delivery.
    after_seconds: float


@dataclass(frozen=True)
class Reject:
    """The message can never be handled; it moves to the dead letters."""

    #: Why, as text for the header and the log.
    reason: str


@dataclass(frozen=True)
class Park:
    """The message cannot be handled now or soon; it moves to the parked messages, where it blocks no other message."""

    #: Why, as text for the header and the log.
    reason: str


Verdict = Ack | Retry | Park | Reject
HandleBatch = Callable[[Sequence[Message]], Awaitable[Sequence[Verdict]]]


class WakeUps:
    """Receives wake-ups: acknowledges and counts them, and ignores their content.

    Their consumer is declared by the process that publishes them.
    """

    def __init__(self, broker: JetStream, spec: ConsumerSpec) -> None:
        self._subscription = Subscription(broker, spec, declares=False)

    async def wait(self, limit: int, *, seconds: float) -> int:
        """Waits up to `seconds` for a wake-up; returns how many arrived, 0 to `limit`."""
        messages = await self._subscription.fetch(limit, wait_seconds=seconds)
        for message in messages:
            try:
                await message.ack()
            except FAILURES as error:
                # The wake-up was received all the same. The broker sends it again after the ack wait: one poll more.
                event(_LOG, logging.DEBUG, "wakeup.not_acknowledged", reason=type(error).__name__)
        return len(messages)


async def consume(
    broker: JetStream,
    spec: ConsumerSpec,
    handle: HandleBatch,
    *,
    stop: asyncio.Event,
    may_fetch: Callable[[], bool] = lambda: True,
    parked_subject: str,
    dead_subject: str,
) -> None:
    """Passes batches of up to `MAX_BATCH` messages to the handler and applies its verdicts, until `stop` is set.

    `handle` returns one verdict per message, in order. Messages are acknowledged after the handler has returned, and
    the broker confirms the acknowledgement. While `may_fetch` returns False, messages stay in the stream.
    """
    subscription = Subscription(broker, spec)
    while not stop.is_set():
        if not may_fetch():
            await pause_until(stop, seconds=0.2)
            continue
        messages = await subscription.fetch(MAX_BATCH, wait_seconds=1.0)
        if messages:
            verdicts = await _handle(handle, [_read(message) for message in messages], spec)
            await asyncio.gather(
                *(
                    _apply(broker, message, verdict, parked_subject=parked_subject, dead_subject=dead_subject)
                    for message, verdict in zip(messages, verdicts, strict=True)
                )
            )
    await subscription.close()


async def _handle(handle: HandleBatch, messages: Sequence[Message], spec: ConsumerSpec) -> Sequence[Verdict]:
    """Calls the handler, within a span for each message."""
    spans = [
        open_processing(
            subject=message.subject,
            template=spec.subject,
            group=spec.durable,
            headers=message.headers,
            size=len(message.body),
            delivered=message.delivered,
        )
        for message in messages
    ]
    verdicts: Sequence[Verdict] = ()
    try:
        verdicts = await handle(messages)
    finally:
        # Without verdicts, the handler has failed, and the messages come again.
        for span, verdict in zip(spans, verdicts or [Retry(0.0)] * len(spans), strict=True):
            end_processing(span, type(verdict).__name__.lower())
    return verdicts


async def _apply(broker: JetStream, message: Msg, verdict: Verdict, *, parked_subject: str, dead_subject: str) -> None:
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
                await _dead_letter(broker, message, reason, dead_subject)
                await message.term()
    except (*FAILURES, BrokerUnavailable) as error:
        # The broker delivers the message again after the ack wait; handlers must accept repeats anyway.
        event(_LOG, logging.WARNING, "message.not_settled", subject=message.subject, reason=type(error).__name__)
    except Exception:  # noqa: BLE001 - one message must not stop the consumer
        _LOG.exception("message.not_settled", extra={"subject": message.subject})


async def _park(broker: JetStream, message: Msg, reason: str, parked_subject: str) -> None:
    original = _read(message)
    headers = passed_on(original.headers) | {
        PARKED_REASON: header_value(reason),
        PARKED_SUBJECT: original.subject,
        PARKED_AT: original.headers.get(PARKED_AT) or datetime.now(UTC).isoformat(),
    }
    message_id = f"parked-{message.metadata.stream}-{original.stream_sequence}"
    await broker.publish(parked_subject, original.body, message_id=message_id, headers=headers)
    event(_LOG, logging.WARNING, "message.parked", subject=original.subject, reason=reason)


async def _dead_letter(broker: JetStream, message: Msg, reason: str, dead_subject: str) -> None:
    original = _read(message)
    await publish_dead_letter(
        broker,
        original.body,
        original.headers,
        subject=original.subject,
        reason=reason,
        to=dead_subject,
        message_id=f"dead-{message.metadata.stream}-{original.stream_sequence}",
    )


async def publish_dead_letter(
    broker: JetStream, body: bytes, headers: Mapping[str, str], *, subject: str, reason: str, to: str, message_id: str
) -> None:
    """Publishes a message that came under `subject` to the dead letters, at `to`. Raises `BrokerUnavailable`."""
    dead_headers = passed_on(headers) | {DEAD_REASON: header_value(reason), DEAD_SUBJECT: subject}
    try:
        await broker.publish(to, body, message_id=message_id, headers=dead_headers)
    except MessageTooLarge:
        # The message just fitted with its own headers. Its headers alone still say what it was about.
        dead_headers[DEAD_REASON] = header_value(f"(its {len(body)} bytes did not fit) {reason}")
        await broker.publish(to, b"", message_id=message_id, headers=dead_headers)
    metrics.count(registry.DEAD_LETTERS)
    event(_LOG, logging.ERROR, "message.dead_lettered", subject=subject, reason=reason)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers for a copy of a message: without those of the broker, each value fit for sending."""
    return {name: header_value(value) for name, value in headers.items() if not name.startswith("Nats-")}


def header_value(text: str) -> str:
    """Returns a text fit for a header: ASCII with other characters escaped, one line, up to `MAX_HEADER_LENGTH`."""
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())[:MAX_HEADER_LENGTH]


def _read(message: Msg) -> Message:
    metadata = message.metadata
    return Message(
        subject=message.subject,
        body=message.data,
        headers={name: str(value) for name, value in (message.headers or {}).items()},
        stream_sequence=metadata.sequence.stream,
        delivered=metadata.num_delivered,
    )
