"""Promises about webhooks: what receivers got of each final event, in which order, signed, and where nothing went."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.notifier.domain.endpoints import CLOCK_TOLERANCE
from services.notifier.domain.events import JOB_EVENTS, supersedes
from tests.chaos.history import History, Promise, Row
from tests.chaos.load import PROMPT
from tests.chaos.received import Endpoint, EventKey, Request, key_of
from tests.chaos.receivers import Kind
from tests.chaos.signers import Signer

#: Seconds by which the time that is signed may differ from when a request came: what receivers tolerate.
TOLERANCE_SECONDS = 300.0
#: Receivers whose names flip, and how attempts at them may end: they are always good.
FLIPPING = f"{Kind.FLIPPING}-"
ENDS_OF_FLIPPING = (None, "blocked_address", "abandoned")


@dataclass(frozen=True, kw_only=True)
class Due:
    """A final event that a target was to get; `is_held`: its endpoint is disabled."""

    target: str
    event: Row
    is_held: bool
    later: Sequence[Row]
    """Final events of the job that the target was to get after it."""

    @property
    def key(self) -> EventKey:
        """Job and sequence."""
        return self.event["job_id"], self.event["sequence"]

    @property
    def is_superseded(self) -> bool:
        """Whether a later event makes it unnecessary."""
        return any(supersedes(one["type"], self.event["type"]) for one in self.later)


def every_final_event_is_delivered(history: History) -> Iterator[str]:
    """Acknowledged by each endpoint and callback URL that was to get it, but for what is superseded or held."""
    accepted = {(one.target, key_of(one.event)) for one in history.received.requests if one.was_accepted}
    for due in due_events(history):
        if not (due.is_held or due.is_superseded or (due.target, due.key) in accepted):
            job_id, sequence = due.key
            yield f"{due.event['type']} {sequence} of {job_id} was not delivered to {due.target}."


def only_what_was_to_be_delivered_is(history: History) -> Iterator[str]:
    """No target gets an event that it was not to get, or that did not happen."""
    wanted = {(due.target, due.key) for due in due_events(history)}
    known = {promise.id for promise in history.promises if not promise.deleted}
    for one in history.received.requests:
        key = key_of(one.event)
        # Of a deleted job not all events are there any more.
        if key is not None and key[0] in known and (one.target, key) not in wanted:
            yield f"{one.target} got event {key[1]} of {key[0]}."


def a_delivery_has_one_id(history: History) -> Iterator[str]:
    """All attempts of an event at a target have the same `webhook-id`, which no other has."""
    ids: dict[tuple[str, EventKey], set[str]] = defaultdict(set)
    uses: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for one in history.received.requests:
        if (key := key_of(one.event)) is not None:
            ids[one.target, key].add(one.id)
        uses[one.id].add((one.target, f"{one.event['type']} {key}"))
    for (target, key), found in ids.items():
        if len(found) > 1:
            yield f"Event {key[1]} of {key[0]} came to {target} as {sorted(found)}."
    for delivery, used in uses.items():
        if len(used) > 1:
            yield f"{delivery} is of {sorted(used)}."


def events_of_a_job_come_in_order(history: History) -> Iterator[str]:
    """No target gets an event of a job for the first time after a later one."""
    first: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in history.received.requests:
        if (key := key_of(one.event)) is not None and key[1] not in (seen := first[one.target, key[0]]):
            seen.append(key[1])
    for (target, job_id), seen in first.items():
        if seen != sorted(seen):
            yield f"Events of {job_id} came to {target} in the order {seen}."


def every_request_is_signed(history: History) -> Iterator[str]:
    """By the secret of its endpoint, or of its tenant for callback URLs, at its own time; and by nothing else."""
    for one in history.received.requests:
        at = float(one.headers["webhook-timestamp"])
        signer = signer_of(history, one)
        if not signer.has_signed(one):
            yield f"{one.id} at {one.target} is not signed by its secret."
        if signer.has_signed(one, added=" "):
            yield f"{one.id} at {one.target} is signed, whatever it says."
        if abs(one.at - at) > TOLERANCE_SECONDS:
            yield f"{one.id} at {one.target} is signed for {at:.0f}, and came at {one.at:.0f}."


def nobody_gets_what_is_anothers(history: History) -> Iterator[str]:
    """An endpoint gets events of its tenant's jobs and endpoints, a callback URL those of its job."""
    promises = {promise.id: promise for promise in history.promises}
    endpoints = _endpoints(history)
    for one in history.received.requests:
        key = key_of(one.event)
        endpoint = endpoints.get(one.target)
        if key is None:
            about = one.event["data"]["webhook"]["id"]
            owner = next((each.tenant for each in endpoints.values() if each.id == about), None)
        else:
            owner = promises[key[0]].tenant if key[0] in promises else None
        if endpoint is not None and endpoint.tenant != owner:
            yield f"{one.target} got {one.event['type']} of {owner}."
        if endpoint is None and (key is None or key[0] not in promises or _callback(promises[key[0]]) != one.path):
            yield f"{one.target} got {one.event['type']} of {key}."


def nothing_goes_to_a_forbidden_address(history: History) -> Iterator[str]:
    """No endpoint has one, no redirect leads there, and no name that flips."""
    yield from history.received.forbidden
    for receiver in sorted({one.receiver for one in history.received.endpoints if one.receiver.startswith(FLIPPING)}):
        for row in history.received.attempts_at(receiver):
            if row["error"] not in ENDS_OF_FLIPPING:
                yield f"An attempt at {receiver} ended as {row['error']}, so it went where its name led."


def the_notifier_keeps_no_prompt(history: History) -> Iterator[str]:
    """No row of its tables holds what a user asked for."""
    words = re.compile(PROMPT.format(number="[0-9]+"))
    for table, rows in history.received.tables.items():
        for row in rows:
            yield from (f"{table} holds {found!r}." for found in words.findall(row))


RULES: Sequence[Callable[[History], Iterator[str]]] = (
    every_final_event_is_delivered,
    only_what_was_to_be_delivered_is,
    a_delivery_has_one_id,
    events_of_a_job_come_in_order,
    every_request_is_signed,
    nobody_gets_what_is_anothers,
    nothing_goes_to_a_forbidden_address,
    the_notifier_keeps_no_prompt,
)


def due_events(history: History) -> list[Due]:
    """Every final event with each target that was to get it."""
    disabled = history.received.disabled()
    found = []
    for promise in history.promises:
        events = [one for one in history.final_events.get(promise.id, ()) if one["type"] in JOB_EVENTS]
        for endpoint in history.received.endpoints:
            if endpoint.tenant == promise.tenant:
                wanted = [one for one in events if _wants(endpoint, one)]
                is_held = endpoint.id.removeprefix("wh_") in disabled
                found += _due(f"{endpoint.receiver}/hook", wanted, is_held=is_held)
        if promise.callback is not None:
            found += _due(promise.callback, events, is_held=False)
    return found


def signer_of(history: History, request: Request) -> Signer:
    """Who signs what comes to the request's target."""
    if (endpoint := _endpoints(history).get(request.target)) is not None:
        return Signer(scheme=endpoint.scheme, secret=endpoint.secret)
    keys = {_callback(promise): promise.tenant for promise in history.promises}
    return Signer(scheme="v1", secret=history.received.signing_secrets[keys[request.path]])


def _due(target: str, events: Sequence[Row], *, is_held: bool) -> list[Due]:
    ordered = sorted(events, key=lambda one: one["sequence"])
    return [
        Due(target=target, event=one, is_held=is_held, later=ordered[number + 1 :])
        for number, one in enumerate(ordered)
    ]


def _wants(endpoint: Endpoint, event: Row) -> bool:
    # As job-service's clock had it, which is set forward and back; the notifier's is not. Endpoints were there before
    # jobs, so each event is read after its endpoint was created.
    told = event["occurred_at"] + event["ahead"]
    return told >= endpoint.created_at - CLOCK_TOLERANCE and (
        not endpoint.event_types or event["type"] in endpoint.event_types
    )


def _endpoints(history: History) -> Mapping[str, Endpoint]:
    return {f"{one.receiver}/hook": one for one in history.received.endpoints}


def _callback(promise: Promise) -> str | None:
    """The path of a job's callback URL; None for none."""
    return None if promise.callback is None else f"/{promise.key}"
