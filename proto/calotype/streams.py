"""Names on the message broker: streams, their subjects and their limits.

job-service declares all streams and consumers; no other service may (`broker_users`).
"""

from typing import Literal, NotRequired, TypedDict

WAKE_GENERATE = "calotype.wake.generate"
WAKE_UPLOAD = "calotype.wake.upload"
WAKE_SETTLE = "calotype.wake.settle"
WAKE_DELETE = "calotype.wake.delete"

FACT_GENERATION = "calotype.fact.generation"
FACT_UPLOAD = "calotype.fact.upload"

#: The consumer by which job-service applies facts; it acknowledges each applied fact.
FACTS_CONSUMER = "job-facts"

#: Prefixes of subjects: facts that are tried again later, and facts that can never be applied.
PARKED, DEAD = "calotype.parked", "calotype.dead"
PARKED_FACT, DEAD_FACT = f"{PARKED}.fact", f"{DEAD}.fact"


def event_subject(*, tenant: str, job_id: str) -> str:
    """Returns the subject of a job's stored events."""
    return f"calotype.event.{tenant}.{job_id}"


def progress_subject(*, tenant: str, job_id: str) -> str:
    """Returns the subject of a job's live progress: core NATS, never stored."""
    return f"calotype.progress.{tenant}.{job_id}"


class Stream(TypedDict):
    """Declaration of a stream."""

    #: Name of the stream.
    name: str
    #: Subjects that it stores, with the broker's wildcards.
    subjects: tuple[str, ...]
    #: `workqueue`: a message is deleted once it is acknowledged; `limits`: when a limit is reached.
    retention: Literal["workqueue", "limits"]
    #: What a full stream does: `old` deletes the oldest message, `new` refuses the newest.
    discard: Literal["old", "new"]
    #: Age at which a message is deleted; None for no limit.
    max_age_seconds: float | None
    #: Size of the whole stream; None for no limit.
    max_bytes: int | None
    #: Time for which a second message with the same id is ignored.
    duplicate_window_seconds: float


WORK: Stream = {
    "name": "CALOTYPE_WORK",
    "subjects": ("calotype.wake.*",),
    "retention": "workqueue",
    # A poll replaces a lost wake-up, so the oldest may be dropped.
    "discard": "old",
    "max_age_seconds": 600,
    "max_bytes": 64 * 1024 * 1024,
    "duplicate_window_seconds": 60,
}
FACTS: Stream = {
    "name": "CALOTYPE_FACTS",
    "subjects": ("calotype.fact.*.*",),
    "retention": "workqueue",
    # Facts wait for job-service without a time limit; a full stream refuses the newest, and its sender retries.
    "discard": "new",
    "max_age_seconds": None,
    "max_bytes": 1024 * 1024 * 1024,
    "duplicate_window_seconds": 120,
}
EVENTS: Stream = {
    "name": "CALOTYPE_EVENTS",
    "subjects": ("calotype.event.*.*",),
    "retention": "limits",
    "discard": "old",
    "max_age_seconds": 7 * 24 * 3600,
    "max_bytes": 1024 * 1024 * 1024,
    "duplicate_window_seconds": 120,
}
PARKED_FACTS: Stream = {
    "name": "CALOTYPE_PARKED",
    "subjects": ("calotype.parked.>",),
    "retention": "limits",
    # Parked facts are still to be applied: when this stream is full, a fact stays in the stream of facts.
    "discard": "new",
    "max_age_seconds": None,
    "max_bytes": 256 * 1024 * 1024,
    "duplicate_window_seconds": 120,
}
DEAD_LETTERS: Stream = {
    "name": "CALOTYPE_DEAD",
    "subjects": ("calotype.dead.>",),
    "retention": "limits",
    "discard": "old",
    "max_age_seconds": 30 * 24 * 3600,
    "max_bytes": 256 * 1024 * 1024,
    "duplicate_window_seconds": 120,
}
STREAMS: tuple[Stream, ...] = (WORK, FACTS, EVENTS, PARKED_FACTS, DEAD_LETTERS)


class Consumer(TypedDict):
    """A durable consumer of a worker's wake-ups."""

    #: Name of the stream.
    stream: str
    #: Name of the consumer.
    durable: str
    #: The only subject that it reads.
    subject: str
    #: Whether messages of before the consumer was made are delivered, too.
    delivers_earlier: NotRequired[bool]
    #: How often a message is delivered that nobody acknowledges; left out: without limit.
    max_deliveries: NotRequired[int]


GENERATOR_WAKE: Consumer = {"stream": WORK["name"], "durable": "generator-wake", "subject": WAKE_GENERATE}
GENERATOR_SETTLE: Consumer = {"stream": WORK["name"], "durable": "generator-settle", "subject": WAKE_SETTLE}
UPLOADER_WAKE: Consumer = {"stream": WORK["name"], "durable": "uploader-wake", "subject": WAKE_UPLOAD}
UPLOADER_DELETE: Consumer = {"stream": WORK["name"], "durable": "uploader-delete", "subject": WAKE_DELETE}
#: Events wake the notifier, which then reads the feed of final events: what came before it reads without being woken.
NOTIFIER_WAKE: Consumer = {
    "stream": EVENTS["name"],
    "durable": "notifier-wake",
    "subject": "calotype.event.*.*",
    "delivers_earlier": False,
    "max_deliveries": 3,
}
WAKE_CONSUMERS: tuple[Consumer, ...] = (
    *(GENERATOR_WAKE, GENERATOR_SETTLE, UPLOADER_WAKE, UPLOADER_DELETE, NOTIFIER_WAKE),
)
