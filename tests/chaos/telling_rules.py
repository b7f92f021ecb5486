"""Promises about what is told: the broker's stored events, streams of a job, and views."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.chaos.history import History
from tests.chaos.sight import differences


def every_event_is_published_in_order(history: History) -> Iterator[str]:
    """Each job's events are in the broker's stream at least once, and their first copies are in order.

    Of a deleted job those must be there that its user had seen.
    """
    first: dict[str, list[int]] = defaultdict(list)
    for job_id, sequence in history.feed:
        if sequence not in first[job_id]:
            first[job_id].append(sequence)
    for promise in history.promises:
        told = first.get(promise.id, [])
        last = promise.last_seen if promise.deleted else len(history.events.get(promise.id, ()))
        if missing := set(range(1, last + 1)) - set(told):
            yield f"{promise.id}: events {sorted(missing)} are not in the stream."
        if told != sorted(told):
            yield f"{promise.id}: its events came in the order {told}."


def streams_have_no_gap(history: History) -> Iterator[str]:
    """Whoever follows a job hears each change once and in order, however often the connection breaks."""
    for promise in history.promises:
        if promise.heard != list(range(1, len(promise.heard) + 1)):
            yield f"{promise.id}: its stream told the sequences {promise.heard}."


def what_is_seen_was_told(history: History) -> Iterator[str]:
    """At peace a job looks exactly as its last event says."""
    for promise in history.promises:
        if promise.seen is None:
            continue
        if promise.told is None:
            yield f"{promise.id} at {promise.seen['sequence']} has no event."
        elif promise.seen != promise.told:
            yield f"{promise.id} looks otherwise than its last event: {differences(promise.seen, promise.told)}"


RULES: Sequence[Callable[[History], Iterator[str]]] = (
    every_event_is_published_in_order,
    streams_have_no_gap,
    what_is_seen_was_told,
)
