"""What becomes of a fact that could not be folded: tried again ever later, then put aside."""

import logging

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from common.consuming import PARKED_AT, Message, Park, Reject, Retry, Verdict
from common.logs import event
from common.postgres import DatabaseUnavailable, sqlstate

_LOG = logging.getLogger(__name__)
#: First and longest wait (seconds) for whoever is only in the way, and for what is refused.
HELD_UP_SECONDS, REFUSED_SECONDS, LONGEST_SECONDS = 0.1, 1.0, 30.0
#: What is refused so often will be refused for ever, and what breaks so often will break for as long as we run.
REFUSED_DELIVERIES, BROKEN_DELIVERIES = 3, 8
#: By then five minutes have passed, and the stale-job monitor has given up waiting for the fact.
HELD_UP_DELIVERIES = 20
#: SQLSTATEs that a value brings about; any other says something of the database: its schema, its rights, its disk.
_OF_VALUES = ("21", "22", "23", "54")


def verdict_on(message: Message, error: Exception) -> Verdict:
    """The verdict on a fact whose fold failed by itself, while the database was there."""
    if _is_in_its_way(error):
        return blocked_verdict(message, words(error))
    event(
        _LOG, logging.ERROR, "fact.refused", subject=message.subject, error=words(error), deliveries=message.delivered
    )
    if isinstance(error, DBAPIError):
        if message.delivered < REFUSED_DELIVERIES:
            return later(message, first_seconds=REFUSED_SECONDS)
        return Reject(f"the database refuses it: {words(error)}")
    # A defect of ours may be one of this version alone: another finds the fact where it is parked.
    if message.delivered < _most(message, BROKEN_DELIVERIES):
        return later(message, first_seconds=REFUSED_SECONDS)
    return Park(f"folding it breaks: {words(error)}")


def blocked_verdict(message: Message, reason: str) -> Verdict:
    """The verdict on a fact that something else is in the way of."""
    if message.delivered < _most(message, HELD_UP_DELIVERIES):
        return later(message)
    event(_LOG, logging.ERROR, "fact.held_up", subject=message.subject, reason=reason, deliveries=message.delivered)
    return Park(reason)


def _most(message: Message, deliveries: int) -> int:
    """How often it may come: one that was parked before has had its tries, and gets one more each time."""
    return 1 if PARKED_AT in message.headers else deliveries


def words(error: Exception) -> str:
    """What an error says, without the values of the row that it is about."""
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {str(error)[:300]}"
    return str(error.orig)[:300]


def _is_in_its_way(error: Exception) -> bool:
    """Whether a failure says something of what is around a fact, rather than of the fact or of our code."""
    if isinstance(error, DBAPIError):
        return not (isinstance(error, (DataError, IntegrityError)) or sqlstate(error).startswith(_OF_VALUES))
    return isinstance(error, (DatabaseUnavailable, OSError, MemoryError))


def later(message: Message, *, first_seconds: float = HELD_UP_SECONDS) -> Retry:
    """Bring it again, the later the more often it came."""
    return Retry(min(first_seconds * 2.0 ** min(message.delivered - 1, 16), LONGEST_SECONDS))
