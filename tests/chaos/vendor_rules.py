"""Promises about what is asked of providers: limits, consents, fallbacks, deadlines, cancels."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import inf

from services.job.domain.calls import CallPhase
from services.job.domain.states import State, Transition
from tests.chaos.clock import STEP_SECONDS
from tests.chaos.history import History, Promise, Row
from tests.chaos.matching import matched, was_delivered
from tests.chaos.tuning import AT_ONCE, LEASE_SECONDS, PER_MINUTE

LIMITED = "sync"
#: A request leaves within half a lease of its row, and limits count rows.
MINUTE = 60.0 - LEASE_SECONDS / 2
#: By these the ledger says that nothing was bought, for certain.
NOTHING_BOUGHT = frozenset({CallPhase.NOT_SENT, CallPhase.REFUSED, CallPhase.FAILED, CallPhase.CANCELED})
#: How a worker ends a claim by its own word.
OWN_ENDS = frozenset({"requeued", "failed", "succeeded"})
#: What a job says that failed by such an answer.
WORDS = {
    ("sync", "rate_limit"): "PROVIDER_RATE_LIMIT",
    ("async", "rate_limit"): "PROVIDER_RATE_LIMIT",
    ("sync", "refused"): "CONTENT_POLICY",
    ("async", "refused"): "INVALID_INPUT",
    ("sync", "invalid"): "INVALID_INPUT",
    ("async", "invalid"): "INVALID_INPUT",
}
#: How long a job may take after its time is over: an operation that cannot be stopped, its copies, and rescues.
OVERTIME_SECONDS = 120.0
#: From a user's cancel to the word at the provider: a renewal, or a lease that runs out and somebody who settles.
STOPPING_SECONDS = LEASE_SECONDS + 7.0


def limits_hold_at_the_provider(history: History) -> Iterator[str]:
    """By its own books, never more than the configured number at once or within a minute.

    A call of which nobody has heard gives its place back after its timeout, though the provider may still be at it.
    Minutes and timeouts are those of the database's clock.
    """
    if (most := most_at_once(history)) > AT_ONCE:
        yield f"{LIMITED} had {most} calls at once, {AT_ONCE} are allowed."
    # One that was frozen on its way is sent late.
    begun = sorted(
        min(one["time"], row["created_at"].timestamp() + LEASE_SECONDS / 2) for one, row in _limited(history)
    )
    for number, moment in enumerate(begun[PER_MINUTE:]):
        since, until = (datetime.fromtimestamp(one, UTC) for one in (begun[number], moment))
        if moment - begun[number] + history.set_between(since, until).total_seconds() < MINUTE:
            yield f"{LIMITED} was called {PER_MINUTE + 1} times in {moment - begun[number]:.1f} s."


def a_consent_serves_one_purchase(history: History) -> Iterator[str]:
    """Per image, a job's own consent and each consenting retry buy once more, and no more."""
    for promise in history.promises:
        given = {"job": int(promise.may_pay_again), "user": promise.consents}
        used: Counter[tuple[str, int]] = Counter()
        for purchase, call in matched(history, promise):
            if call is not None and call["consent"] in given and was_delivered(purchase):
                used.update((call["consent"], index) for index in call["image_indexes"])
        for (who, index), times in used.items():
            if times > given[who]:
                yield f"{promise.id}: image {index} was bought {times} times by {given[who]} consents of the {who}."


def what_was_not_sold_was_not_delivered(history: History) -> Iterator[str]:
    """A call that the ledger calls unsent, refused, failed or canceled brought nothing by the provider's books."""
    for promise in history.promises:
        for purchase, call in matched(history, promise):
            if call is not None and call["phase"] in NOTHING_BOUGHT and was_delivered(purchase):
                yield f"{promise.id}: call {call['id']} is {call['phase']}, and {purchase['id']} was delivered."


def fallbacks_are_asked(history: History) -> Iterator[str]:
    """Where a provider surely sold nothing, the next one is asked within the same claim."""
    for promise in history.promises:
        if not promise.fallback or promise.id not in history.jobs:
            continue
        by_claim = {attempt["claim_number"]: attempt for attempt in history.attempts.get(promise.id, ())}
        for claim_number in sorted(turned_away(history, promise)):
            attempt = by_claim.get(claim_number)
            if attempt is None or attempt["outcome"] not in OWN_ENDS or _is_over(history, promise, attempt["ended_at"]):
                continue
            calls = [one for one in history.calls[promise.id] if one["claim_number"] == claim_number]
            is_asked = any(one["provider"] in promise.fallback for one in calls)
            if not is_asked and not is_barred(history, promise.fallback[0], attempt["started_at"]):
                yield f"{promise.id}: claim {claim_number} was turned away, and {promise.fallback[0]} was not asked."


def failures_are_the_providers_own(history: History) -> Iterator[str]:
    """Who fails after the provider's clear word says that word; a defect of ours is nobody's word."""
    for promise in history.promises:
        job = history.jobs.get(promise.id)
        if job is None or job["state"] != State.FAILED or job["deleted_at"] is not None:
            continue
        if job["failure_reason"] == "INTERNAL":
            yield f"{promise.id} failed by a defect."
        said = _last_words(history, promise)
        if said and job["failure_reason"] not in said:
            yield f"{promise.id} failed as {job['failure_reason']}, the provider said {', '.join(sorted(said))}."


def deadlines_are_kept(history: History) -> Iterator[str]:
    """Past its deadline nothing is begun, the job ends, and what was paid for is not thrown away."""
    for promise in history.promises:
        job = history.jobs.get(promise.id)
        if promise.finish_within is None or job is None or job["retry_count"] or job["deleted_at"] is not None:
            continue
        finish_by = job["created_at"] + timedelta(seconds=promise.finish_within)
        calls = history.calls.get(promise.id, ())
        finish_by += history.set_between(job["created_at"], finish_by + timedelta(seconds=STEP_SECONDS))
        latest = finish_by + timedelta(seconds=LEASE_SECONDS + history.peace.noise)
        yield from (f"{promise.id}: call {one['id']} began too late." for one in calls if one["created_at"] > latest)
        overtime = timedelta(seconds=OVERTIME_SECONDS + history.peace.longest_outage + history.peace.noise)
        if job["completed_at"] is not None and job["completed_at"] > finish_by + overtime:
            yield f"{promise.id} ended {job['completed_at'] - finish_by} after its deadline."
        if job["failure_reason"] == "DEADLINE_EXCEEDED":
            yield from (
                f"{promise.id} failed by its deadline, and call {one['id']} had succeeded."
                for one in calls
                if one["phase"] == CallPhase.SUCCEEDED
            )


def canceled_operations_are_stopped(history: History) -> Iterator[str]:
    """Whoever cancels a job in flight has the provider told so in time, where it can be."""
    patience = STOPPING_SECONDS + history.peace.noise
    for promise in history.promises:
        for canceled_at in history.moments(promise.id, Transition.CANCEL):
            for purchase, call in matched(history, promise):
                if call is None or call["accepted_at"] is None or call["accepted_at"] > canceled_at:
                    continue
                due = canceled_at.timestamp() + patience
                told_at = purchase["canceled_at"] or inf
                if min(purchase["done_at"], told_at) > due and not _is_disturbed(history, canceled_at, patience):
                    yield f"{promise.id} was canceled, and {purchase['id']} was not stopped."


RULES: Sequence[Callable[[History], Iterator[str]]] = (
    limits_hold_at_the_provider,
    a_consent_serves_one_purchase,
    what_was_not_sold_was_not_delivered,
    fallbacks_are_asked,
    failures_are_the_providers_own,
    deadlines_are_kept,
    canceled_operations_are_stopped,
)


def most_at_once(history: History) -> int:
    """How many calls the limited provider had under way at most."""
    changes = []
    for purchase, call in _limited(history):
        timeout = timedelta(seconds=call["timeout_seconds"])
        timeout -= history.set_between(call["created_at"], call["created_at"] + timeout)
        given_back = (call["created_at"] + timeout).timestamp()
        changes.append((purchase["time"], 1))
        changes.append((max(min(purchase["ended_at"], given_back), purchase["time"]), -1))
    return max(accumulate(change for _, change in sorted(changes)), default=0)


def _limited(history: History) -> list[tuple[Row, Row]]:
    found = [pair for promise in history.promises for pair in matched(history, promise)]
    return [(purchase, call) for purchase, call in found if purchase["shape"] == LIMITED and call is not None]


def turned_away(history: History, promise: Promise) -> set[int]:
    """Claims in which the job's own provider surely sold nothing, for a reason that another may not have."""
    found = set()
    for purchase, call in matched(history, promise):
        if call is None or call["provider"] != promise.shape:
            continue
        is_limited = purchase["fate"] == "rate_limit" and call["phase"] == CallPhase.NOT_SENT
        is_refused = purchase["fate"] == "refused" and call["phase"] == CallPhase.REFUSED
        if is_limited or (is_refused and promise.falls_back_on_refusal):
            found.add(call["claim_number"])
    return found


def _last_words(history: History, promise: Promise) -> set[str]:
    """What providers said in the claim that failed the job; nothing where one of its calls got no clear word."""
    attempts = [one for one in history.attempts.get(promise.id, ()) if one["stage"] == "generating"]
    if not attempts or attempts[-1]["outcome"] != "failed":
        return set()
    if history.jobs[promise.id]["completed_at"] - attempts[-1]["ended_at"] > timedelta(seconds=1):
        # Retried since, and failed while it waited.
        return set()
    claim_number = attempts[-1]["claim_number"]
    calls = {one["id"] for one in history.calls.get(promise.id, ()) if one["claim_number"] == claim_number}
    said = {
        call["id"]: WORDS.get((purchase["shape"], purchase["fate"]))
        for purchase, call in matched(history, promise)
        if call is not None and call["id"] in calls and call["phase"] in NOTHING_BOUGHT
    }
    words = {word for word in said.values() if word is not None}
    if set(said) != calls or None in said.values():
        return set()
    return words | ({"DEADLINE_EXCEEDED"} if promise.finish_within is not None and words else set())


def _is_over(history: History, promise: Promise, moment: datetime) -> bool:
    """Whether nothing new was to be begun for the job by then, or soon."""
    if promise.finish_within is None:
        return False
    created_at = history.jobs[promise.id]["created_at"]
    moment += history.set_between(created_at, moment)
    return bool(moment >= created_at + timedelta(seconds=promise.finish_within - 1.0 - history.peace.noise))


def is_barred(history: History, provider: str, moment: datetime) -> bool:
    """Whether a breaker may have barred the provider then."""
    margin = timedelta(seconds=2)
    notes = [one for one in history.breakers if one["provider"] == provider]
    for number, note in enumerate(notes):
        until = notes[number + 1]["noted_at"] + margin if number + 1 < len(notes) else moment
        if note["opened_at"] is not None and note["noted_at"] - margin <= moment <= until:
            return True
    return False


def _is_disturbed(history: History, since: datetime, seconds: float) -> bool:
    """Whether those were struck meanwhile, or just before, without whom nobody can be told anything."""
    until = since + timedelta(seconds=seconds)
    lease = timedelta(seconds=2 * LEASE_SECONDS)
    return any(
        strike.at <= until and strike.until + lease >= since
        for strike in history.peace.struck
        if strike.kinds & {"job", "postgres", "nats", "provider", "clock"}
        or strike.fault in ("freeze generator", "restart generator")
    )
