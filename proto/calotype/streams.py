"""Names on the message broker: streams, their subjects and their limits.

job-service declares them all, and the consumers: no other service may (`broker_users`).
"""

from typing import Literal, NotRequired, TypedDict

WAKE_GENERATE = "calotype.wake.generate"
WAKE_UPLOAD = "calotype.wake.upload"
WAKE_SETTLE = "calotype.wake.settle"
WAKE_DELETE = "calotype.wake.delete"

FACT_GENERATION = "calotype.fact.generation"
FACT_UPLOAD = "calotype.fact.upload"

#: The consumer by which job-service folds facts; its acknowledgements tell what has been folded.
FACTS_CONSUMER = "job-facts"

#: Facts that are put aside: for a while, and for good.
PARKED, DEAD = "calotype.parked", "calotype.dead"
PARKED_FACT, DEAD_FACT = f"{PARKED}.fact", f"{DEAD}.fact"


def event_subject(*, tenant: str, job_id: str) -> str:
    """Subject of a job's stored events."""
    return f"calotype.event.{tenant}.{job_id}"


def progress_subject(*, tenant: str, job_id: str) -> str:
    """Subject of a job's live progress; core NATS, never stored."""
    return f"calotype.progress.{tenant}.{job_id}"


class Stream(TypedDict):
    """A stream's declaration; ages and windows in seconds, sizes in bytes."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"]
    discard: Literal["old", "new"]
    max_age_seconds: float | None
    max_bytes: int | None
    duplicate_window_seconds: float


WORK: Stream = {
    "name": "CALOTYPE_WORK",
    "subjects": ("calotype.wake.*",),
    "retention": "workqueue",
    # A wake-up is a hint with a poll behind it: losing the oldest loses nothing.
    "discard": "old",
    "max_age_seconds": 600,
    "max_bytes": 64 * 1024 * 1024,
    "duplicate_window_seconds": 60,
}
FACTS: Stream = {
    "name": "CALOTYPE_FACTS",
    "subjects": ("calotype.fact.*.*",),
    "retention": "workqueue",
    # A fact waits for job-service however long that takes; a full stream refuses the newest, whose sender keeps it.
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
    # They still count: one that finds no room stays among the facts.
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
    """A durable consumer by which one of the workers is woken."""

    stream: str
    durable: str
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
