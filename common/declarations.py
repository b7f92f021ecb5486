"""Declarations of the streams and consumers that the broker must have."""

import logging
from dataclasses import dataclass
from typing import Literal

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from common.logs import event

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """Declaration of a stream."""

    #: Name of the stream at the broker.
    name: str
    #: Subjects that the stream stores; wildcards are allowed.
    subjects: tuple[str, ...]
    #: `workqueue`: a message is deleted once it is acknowledged; `limits`: it is kept until age or size ends.
    retention: Literal["workqueue", "limits"]
    #: When the stream is full: delete the oldest message, or refuse the new one.
    discard: Literal["old", "new"]
    #: Seconds for which a message is kept; None: without limit.
    max_age_seconds: float | None
    #: Bytes that all messages may take together; None: without limit.
    max_bytes: int | None
    #: Seconds in which a second message with the same id is dropped.
    duplicate_window_seconds: float
    #: Broker servers that hold a copy.
    replicas: int = 1

    def config(self) -> StreamConfig:
        """Returns the declaration as the NATS library takes it."""
        return StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=RetentionPolicy.WORK_QUEUE if self.retention == "workqueue" else RetentionPolicy.LIMITS,
            discard=DiscardPolicy.NEW if self.discard == "new" else DiscardPolicy.OLD,
            max_age=self.max_age_seconds or 0,
            max_bytes=self.max_bytes or -1,
            duplicate_window=self.duplicate_window_seconds,
            num_replicas=self.replicas,
            storage=StorageType.FILE,
        )


@dataclass(frozen=True, kw_only=True)
class ConsumerSpec:
    """Declaration of a durable pull consumer of one stream."""

    #: Name of the stream.
    stream: str
    #: Name of the consumer at the broker.
    durable: str
    #: Subject of the messages that it delivers; wildcards are allowed.
    subject: str
    #: Seconds after which an unacknowledged message is delivered again.
    ack_wait_seconds: float = 30.0
    #: Unacknowledged messages beyond which the broker delivers no more.
    max_ack_pending: int = 1000
    #: Whether messages that are older than the consumer are delivered, too.
    delivers_earlier: bool = True
    #: Deliveries of a message that is never acknowledged; None: without limit, as the database counts attempts.
    max_deliveries: int | None = None

    def config(self) -> ConsumerConfig:
        """Returns the declaration as the NATS library takes it."""
        return ConsumerConfig(
            durable_name=self.durable,
            filter_subject=self.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_seconds,
            max_ack_pending=self.max_ack_pending,
            max_deliver=-1 if self.max_deliveries is None else self.max_deliveries,
            deliver_policy=DeliverPolicy.ALL if self.delivers_earlier else DeliverPolicy.NEW,
        )


async def declare_stream(context: JetStreamContext, spec: StreamSpec) -> None:
    """Creates a stream, or updates it to its declaration. Raises the errors of the NATS library."""
    declared = spec.config()
    try:
        current = (await context.stream_info(spec.name)).config
    except NotFoundError:
        await context.add_stream(declared)
        event(_LOG, logging.INFO, "stream.declared", stream=spec.name)
        return
    # Replicas are added, never removed: while the setting changes, processes disagree about their number.
    declared.num_replicas = max(spec.replicas, current.num_replicas or 1)
    compared = ("subjects", "max_age", "max_bytes", "discard", "num_replicas")
    if any(getattr(current, name) != getattr(declared, name) for name in compared):
        await context.update_stream(declared)


async def declare_consumer(context: JetStreamContext, spec: ConsumerSpec) -> None:
    """Creates a consumer, or updates it to its declaration. Raises the errors of the NATS library."""
    declared = spec.config()
    try:
        current = (await context.consumer_info(spec.stream, spec.durable)).config
    except NotFoundError:
        current = None
    compared = ("filter_subject", "ack_wait", "max_ack_pending", "max_deliver")
    if current is None or any(getattr(current, name) != getattr(declared, name) for name in compared):
        await context.add_consumer(spec.stream, declared)
