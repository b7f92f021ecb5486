"""What operators read of one job in a terminal: a summary, and the timeline of what happened."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.table import printable

#: Cells of a bar.
BAR_CELLS = 32
#: Changes that begin a wait, and those that end it.
_WAIT_BEGINS = frozenset({"job.submitted", "job.requeued", "job.retried"})


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """Something that happened to a job."""

    #: `wait`, `attempt`, `call`, `event` or `delivery`.
    kind: str
    #: When it began.
    starts_at: datetime
    #: When it ended; None while it goes on. For an event, `starts_at`.
    ends_at: datetime | None
    #: What it was, with whole ids.
    text: str


def summary_lines(view: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of the summary of a job, each with a label."""
    job, summary = view["job"], view["summary"]
    yield f"job    {job['id']}  {job['status']}  {job['provider']}/{job['model']}  tenant {view['tenant']}"
    yield f"stage  {summary['stage']}"
    if summary["code"]:
        yield f"code   {summary['code']}"
    if summary["reason"]:
        yield f"reason {summary['reason']}: {printable(summary['message'] or '')}"
    yield f"call   {call_text(summary['provider_call']) if summary['provider_call'] else 'none'}"
    if job["wait"]:
        yield f"waits  {job['wait']['reason']}" + _until(job["wait"]["next_try_at"])
    if view["lease"]:
        yield f"lease  {view['lease']['worker']}, claim {view['lease']['claim_number']}" + _until(
            view["lease"]["expires_at"]
        )
    if not view["deliveries"]["available"]:
        yield f"hooks  not known: {printable(view['deliveries']['problem'])}"
    yield from (f"{name:6} {address}" for name, address in view["links"].items() if address)
    yield f"next   {printable(summary['next_step'])}"


def call_text(call: Mapping[str, Any]) -> str:
    """Returns one provider call in one line: id, provider, phase, operation, cost and the provider's error."""
    words = [call["id"], f"{call['provider']}/{call['model']}", call["phase"]]
    if call["operation_id"]:
        words.append(f"operation {call['operation_id']}")
    if call["cost"]:
        words.append(f"{call['cost']['amount_micros'] / 1_000_000:.6f} {call['cost']['currency']}")
    if error := call["provider_error"]:
        words += [str(word) for word in (error["http_status"], error["code"], error["message"]) if word]
    return printable("  ".join(words))


def timeline(view: Mapping[str, Any]) -> list[TimelineEntry]:
    """Returns everything that happened to a job, in the order in which it began."""
    events = sorted(view["events"], key=lambda event: event["sequence"])
    entries = [
        *_waits(events),
        *_attempts(view["attempts"]),
        *_points(events),
        *_deliveries(view["deliveries"]["deliveries"]),
    ]
    return sorted(entries, key=lambda entry: entry.starts_at)


def timeline_lines(entries: Sequence[TimelineEntry], *, now: datetime) -> Iterator[str]:
    """Yields a line per entry: offset from the first, duration, a bar, and the text."""
    if not entries:
        return
    start = entries[0].starts_at
    total = max((entry.ends_at or now) - start for entry in entries).total_seconds()
    for entry in entries:
        offset = (entry.starts_at - start).total_seconds()
        seconds = max(((entry.ends_at or now) - entry.starts_at).total_seconds(), 0.0)
        is_open = entry.ends_at is None
        duration = "" if entry.kind == "event" else f"{seconds:.3f}s{'+' if is_open else ''}"
        bar = _bar(offset, seconds, total, is_point=entry.kind == "event", is_open=is_open)
        yield f"{f'+{offset:.3f}s':>12}  {duration:>12}  [{bar}]  {entry.text}"


def _waits(events: Sequence[Mapping[str, Any]]) -> Iterator[TimelineEntry]:
    for position, event in enumerate(events):
        if event["type"] not in _WAIT_BEGINS or event["status"] != "queued":
            continue
        end = next((later for later in events[position + 1 :] if later["status"] != "queued"), None)
        ends_at = None if end is None else _time(end["occurred_at"])
        yield TimelineEntry(kind="wait", starts_at=_time(event["occurred_at"]), ends_at=ends_at, text="in the queue")


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> Iterator[TimelineEntry]:
    for attempt in attempts:
        words = [f"attempt {attempt['number']} {attempt['stage']}", attempt["worker"], attempt["outcome"] or "goes on"]
        if error := attempt["error"]:
            words.append(f"{error['code']} {error['reason']}: {error['message']}")
        yield TimelineEntry(
            kind="attempt",
            starts_at=_time(attempt["started_at"]),
            ends_at=_time_or_none(attempt["ended_at"]),
            text=printable("  ".join(words)),
        )
        for call in attempt["provider_calls"]:
            yield TimelineEntry(
                kind="call",
                starts_at=_time(call["created_at"]),
                ends_at=_time_or_none(call["settled_at"]),
                text=f"  call {call_text(call)}",
            )


def _points(events: Sequence[Mapping[str, Any]]) -> Iterator[TimelineEntry]:
    for event in events:
        at = _time(event["occurred_at"])
        yield TimelineEntry(kind="event", starts_at=at, ends_at=at, text=f"{event['sequence']} {event['type']}")


def _deliveries(deliveries: Sequence[Mapping[str, Any]]) -> Iterator[TimelineEntry]:
    for delivery in deliveries:
        words = [f"webhook {delivery['id']}", delivery["event_type"], delivery["state"], delivery["url"]]
        last = delivery["last_attempt"]
        if last and last["error"]:
            words.append(f"{last['error']}: {last['message']}")
        is_over = delivery["state"] in ("delivered", "superseded", "failed")
        started = last["started_at"] if last else None
        ended = delivery["delivered_at"] or (started or delivery["created_at"] if is_over else None)
        yield TimelineEntry(
            kind="delivery",
            starts_at=_time(delivery["created_at"]),
            ends_at=_time_or_none(ended),
            text=printable("  ".join(words)),
        )


def _bar(offset: float, seconds: float, total: float, *, is_point: bool, is_open: bool) -> str:
    scale = BAR_CELLS / total if total else 0.0
    first = min(int(offset * scale), BAR_CELLS - 1)
    count = 1 if is_point else max(min(round(seconds * scale), BAR_CELLS - first), 1)
    drawn = "|" if is_point else "=" * (count - 1) + (">" if is_open else "=")
    return (" " * first + drawn).ljust(BAR_CELLS)


def _time(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp).astimezone(UTC)


def _time_or_none(timestamp: str | None) -> datetime | None:
    return None if timestamp is None else _time(timestamp)


def _until(timestamp: str | None) -> str:
    return f" until {timestamp}" if timestamp else ""
