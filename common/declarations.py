"""Streams and consumers as they should be at the broker."""

from dataclasses import dataclass
from typing import Literal

from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """A stream as it should be; ages and windows in seconds."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"]
    discard: Literal["old", "new"]
    max_age_seconds: float | None
    max_bytes: int | None
    duplicate_window_seconds: float
    replicas: int = 1

    def config(self) -> StreamConfig:
        """The declaration in the library's words."""
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
    """A durable pull consumer of one stream."""

    stream: str
    durable: str
    subject: str
    ack_wait_seconds: float = 30.0
    max_ack_pending: int = 1000

    def config(self) -> ConsumerConfig:
        """The declaration in the library's words; deliveries are without limit, as the database counts attempts."""
        return ConsumerConfig(
            durable_name=self.durable,
            filter_subject=self.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_seconds,
            max_ack_pending=self.max_ack_pending,
            max_deliver=-1,
        )
