"""What a run came upon: a rule that nothing of it touched holds for nothing."""

import json
from collections import Counter
from collections.abc import Mapping

from services.job.domain.states import State, Transition
from tests.chaos.history import History
from tests.chaos.matching import matched
from tests.chaos.peace_rules import contested_turns
from tests.chaos.tuning import AT_ONCE
from tests.chaos.vendor_rules import most_at_once, turned_away
from tests.chaos.webhook_rules import due_events, signer_of


def coverage(history: History) -> Mapping[str, int]:
    """How often each thing happened that the rules are about."""
    promises = history.promises
    bought = [(purchase, call) for one in promises for purchase, call in matched(history, one)]
    attempts = [attempt for each in history.attempts.values() for attempt in each]
    fates = Counter(purchase["fate"] for purchase, _ in bought)
    return {
        "purchases": len(bought),
        "late results": fates["late"],
        "results of another number": fates["fewer"] + fates["more"],
        "results that expire": fates["expires"],
        "with consent": sum(call is not None and call["consent"] != "none" for _, call in bought),
        f"of {AT_ONCE} places at most in use": most_at_once(history),
        "claims turned away that may fall back": sum(
            len(turned_away(history, one)) for one in promises if one.fallback
        ),
        "calls to a fallback": sum(
            call is not None and purchase["shape"] != one.shape
            for one in promises
            for purchase, call in matched(history, one)
        ),
        "deadlines": sum(one.finish_within is not None for one in promises),
        "missed deadlines": sum(job["failure_reason"] == "DEADLINE_EXCEEDED" for job in history.jobs.values()),
        "canceled jobs": sum(job["state"] == State.CANCELED for job in history.jobs.values()),
        "canceled operations": sum(purchase["canceled_at"] is not None for purchase, _ in bought),
        "user retries": sum(len(history.moments(one.id, Transition.USER_RETRY)) for one in promises),
        "followed jobs": sum(bool(one.heard) for one in promises),
        "stored events": len(history.feed),
        "contested turns": contested_turns(history),
        "rescued claims": sum(attempt["outcome"] == "rescued" for attempt in attempts),
        **_of_webhooks(history),
        "notes of breakers": len(history.breakers),
        "steps of the clock": sum(strike.kinds == {"clock"} for strike in history.peace.struck),
    }


def _of_webhooks(history: History) -> Mapping[str, int]:
    got, due = history.received, due_events(history)
    errors = Counter(json.loads(row)["error"] for row in got.tables["webhook_attempts"])
    did = Counter(one.did.value for one in got.requests)
    return {
        "requests to receivers": len(got.requests),
        **{f"of them {what}": count for what, count in sorted(did.items())},
        "due final events": len(due),
        "superseded ones": sum(one.is_superseded for one in due),
        "held ones": sum(one.is_held for one in due),
        "attempts whose process ended": errors["abandoned"],
        "refused redirects": errors["redirect_refused"],
        "refused addresses": errors["blocked_address"],
        "requests signed with v1a": sum(signer_of(history, one).scheme == "v1a" for one in got.requests),
    }
