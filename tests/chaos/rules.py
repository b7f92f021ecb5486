"""Each promise as a rule over a history: what breaks it, in sentences with ids."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from services.job.domain.calls import MAY_HAVE_BOUGHT, OPEN, CallPhase
from services.job.domain.states import FINAL, State, Transition, is_legal
from tests.chaos import peace_rules, telling_rules, vendor_rules, webhook_rules
from tests.chaos.history import History
from tests.chaos.matching import matched, was_delivered
from tests.support.providers.paid_server import PRICE_MICROS

Rule = Callable[[History], Iterator[str]]
#: Events that end a job.
ENDS = ("job.completed", "job.failed", "job.canceled")


def every_accepted_job_is_final(history: History) -> Iterator[str]:
    """Once per retry of a user; none is missing."""
    for promise in history.promises:
        job = history.jobs.get(promise.id)
        if job is None:
            yield f"{promise.id} is not there."
        elif job["state"] not in FINAL:
            yield f"{promise.id} is {job['state']}."
        elif not promise.deleted:
            ends = sum(event["type"] in ENDS for event in history.events.get(promise.id, ()))
            if ends != job["retry_count"] + 1:
                yield f"{promise.id} ended {ends} times with {job['retry_count']} retries."


def one_key_makes_one_job(history: History) -> Iterator[str]:
    """Every answer to a key is the same job, and no two keys share one."""
    for promise in history.promises:
        if promise.answers != (promise.id,):
            yield f"{promise.key} was answered with {promise.answers}."
    for job_id, times in Counter(promise.id for promise in history.promises).items():
        if times > 1:
            yield f"{job_id} was answered to {times} keys."
    unknown = set(history.jobs) - {promise.id for promise in history.promises}
    yield from (f"{job_id} was never answered for." for job_id in sorted(unknown))


def paths_are_legal(history: History) -> Iterator[str]:
    """Sequences begin with one and have no gap; every step stands in the table."""
    for job_id, events in history.events.items():
        if [event["sequence"] for event in events] != list(range(1, len(events) + 1)):
            yield f"{job_id} has sequences {[event['sequence'] for event in events]}."
        if events and events[0]["type"] != Transition.SUBMIT:
            yield f"{job_id} begins with {events[0]['type']}."
        for before, after in pairwise(events):
            if not is_legal(Transition(after["type"]), State(before["state"]), State(after["state"])):
                yield f"{job_id} went by {after['type']} from {before['state']} to {after['state']}."


def events_tell_the_job(history: History) -> Iterator[str]:
    """The last event shows the job as it is, and every event left the outbox."""
    compared = ("state", "sequence", "claim_number", "attempt_count", "retry_count", "provider_cancel")
    for promise in history.promises:
        job, events = history.jobs.get(promise.id), history.events.get(promise.id, ())
        if job is None or job["deleted_at"] is not None:
            continue
        told = events[-1]["snapshot"]["job"] if events else {}
        for name in compared:
            if told.get(name) != job[name]:
                yield f"{promise.id}: {name} is {job[name]}, its last event says {told.get(name)}."
    yield from (f"Event {row['sequence']} of {row['job_id']} was never published." for row in history.outbox)


def every_purchase_was_written_down_first(history: History) -> Iterator[str]:
    """Each create in the books has a row of its own in the ledger, older than it and of the same size."""
    for promise in history.promises:
        for purchase, call in matched(history, promise):
            if call is None:
                yield f"{promise.id}: purchase {purchase['id']} of {purchase['count']} has no row."


def no_image_is_bought_twice(history: History) -> Iterator[str]:
    """By the ledger and by the books; only consent allows a second purchase."""
    for job_id, covers in history.covers.items():
        held = Counter(row["image_index"] for row in covers if row["phase"] in MAY_HAVE_BOUGHT and not row["lifted"])
        yield from (f"{job_id}: {times} calls cover image {index}." for index, times in held.items() if times > 1)
    for promise in history.promises:
        bought: Counter[int] = Counter()
        for purchase, call in matched(history, promise):
            if call is not None and call["consent"] == "none" and was_delivered(purchase):
                bought.update(call["image_indexes"])
        for index, times in bought.items():
            if times > 1:
                yield f"{promise.id}: image {index} was bought {times} times, and nobody consented."


def nobody_moved_a_job_after_losing_it(history: History) -> Iterator[str]:
    """Claims follow one another: each ends before the next begins, and no event is of an earlier claim."""
    for job_id, attempts in history.attempts.items():
        numbers = [attempt["claim_number"] for attempt in attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{job_id} has the claims {numbers}."
        for before, after in pairwise(attempts):
            if before["ended_at"] is None or before["ended_at"] > after["started_at"]:
                yield f"{job_id}: claim {before['claim_number']} had not ended when the next began."
    for job_id, events in history.events.items():
        claims = [event["snapshot"]["job"]["claim_number"] for event in events]
        for event, before, after in zip(events[1:], claims, claims[1:], strict=False):
            is_claim = event["type"] in (Transition.CLAIM, Transition.CLAIM_UPLOAD)
            if after != before + is_claim:
                yield f"{job_id}: {event['type']} went from claim {before} to {after}."


def attempts_are_counted_apart_from_retries(history: History) -> Iterator[str]:
    """`attempt_count` is the number of claims for generation that count; each ended claim says how."""
    for job_id, attempts in history.attempts.items():
        job = history.jobs[job_id]
        counted = sum(attempt["stage"] == "generating" and attempt["counted"] for attempt in attempts)
        if counted != job["attempt_count"]:
            yield f"{job_id}: {counted} claims count, attempt_count is {job['attempt_count']}."
        if job["state"] in FINAL:
            for attempt in attempts:
                if attempt["ended_at"] is None:
                    yield f"{job_id}: claim {attempt['claim_number']} of a final job has no end."


def completed_jobs_have_their_pictures(history: History) -> Iterator[str]:
    """Public, with the digest that the provider made, one per index or a warning for it."""
    for promise in history.promises:
        job = history.jobs.get(promise.id)
        if job is None or job["state"] != State.COMPLETED or job["deleted_at"] is not None:
            continue
        made = {digest for purchase in history.purchases_of(promise) for digest in purchase["images"]}
        images = history.artifacts.get(promise.id, ())
        warned = {warning["image_index"] for warning in job["warnings"]}
        missing = set(range(job["image_count"])) - {image["image_index"] for image in images}
        if not images:
            yield f"{promise.id} is completed without a picture."
        if missing - warned:
            yield f"{promise.id}: images {sorted(missing - warned)} are missing without a word."
        for image in images:
            found = history.public.get(image["public_name"] or "")
            where = f"{promise.id}: image {image['image_index']}"
            if found is None or not found.is_public:
                yield f"{where} is not public."
            elif found.sha256 != image["sha256"]:
                yield f"{where} has other bytes than it should."
            if promise.shape != "procedural" and image["sha256"] not in made:
                yield f"{where} was not made by the provider for this job."


def what_is_gone_is_gone(history: History) -> Iterator[str]:
    """Deleted and canceled jobs have no public picture; of a deleted one's user nothing is left in any table."""
    for promise in history.promises:
        job = history.jobs.get(promise.id)
        if job is None or (job["deleted_at"] is None and job["state"] != State.CANCELED):
            continue
        left = [name for name in history.public if name.startswith(f"jobs/{promise.id}/")]
        yield from (f"{promise.id} is over, and {name} is public." for name in left)
    for job_id, tables in history.leftovers.items():
        yield f"{job_id} was deleted, and its prompt is in {', '.join(tables)}."
    never = [row for row in history.deletions if row["seen_empty_at"] is None]
    yield from (f"Nobody has emptied {row['prefix']} of {row['bucket']}." for row in never)


def costs_add_up(history: History) -> Iterator[str]:
    """Known costs are what the provider takes for what it made; the job tells their sum, and whether all are known."""
    for promise in history.promises:
        for purchase, call in matched(history, promise):
            if call is None or call["cost_micros"] is None or call["phase"] != CallPhase.SUCCEEDED:
                continue
            if call["cost_micros"] != PRICE_MICROS * len(purchase["images"]):
                yield f"{promise.id}: call {call['id']} costs {call['cost_micros']}."
    for job_id, calls in history.calls.items():
        events = history.events.get(job_id, ())
        if not events or history.jobs[job_id]["state"] not in FINAL:
            continue
        known = [call["cost_micros"] for call in calls if call["cost_micros"] is not None]
        told = events[-1]["snapshot"]["cost"]
        if told["complete"] and told["amount_micros"] != (sum(known) if known else None):
            yield f"{job_id} says that it costs {told['amount_micros']}, its calls say {known}."


def no_call_stays_open(history: History) -> Iterator[str]:
    """Every call of a final job has its end in the ledger."""
    for job_id, calls in history.calls.items():
        for call in calls:
            if call["phase"] in OPEN:
                yield f"{job_id}: call {call['id']} is still {call['phase']}."


def staging_is_empty(history: History) -> Iterator[str]:
    """Nothing is left of jobs that need it no more; a failed one keeps what a retry would use."""
    for name in history.staging:
        job = history.jobs.get(name.partition("/")[0])
        if job is None or job["deleted_at"] is not None or job["state"] in (State.COMPLETED, State.CANCELED):
            yield f"{name} is still in staging."


RULES: Sequence[Rule] = (
    every_accepted_job_is_final,
    one_key_makes_one_job,
    paths_are_legal,
    events_tell_the_job,
    every_purchase_was_written_down_first,
    no_image_is_bought_twice,
    nobody_moved_a_job_after_losing_it,
    attempts_are_counted_apart_from_retries,
    completed_jobs_have_their_pictures,
    what_is_gone_is_gone,
    costs_add_up,
    no_call_stays_open,
    staging_is_empty,
    *vendor_rules.RULES,
    *telling_rules.RULES,
    *peace_rules.RULES,
    *webhook_rules.RULES,
)


def check(history: History) -> Mapping[str, list[str]]:
    """What breaks each rule, by the rule's name."""
    return {rule.__name__: list(rule(history)) for rule in RULES}
