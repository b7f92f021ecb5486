"""Verdicts on facts that could not be applied: retried with growing waits, then parked or refused."""

import logging

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from common.consuming import PARKED_AT, Message, Park, Reject, Retry, Verdict
from common.logs import event
from common.postgres import DatabaseUnavailable, sqlstate

_LOG = logging.getLogger(__name__)
#: First wait in seconds of a fact that something else blocks, first wait of one that is refused, and the longest wait.
HELD_UP_SECONDS, REFUSED_SECONDS, LONGEST_SECONDS = 0.1, 1.0, 30.0
#: Deliveries after which a refusal by the database, or a defect of this version, counts as permanent.
REFUSED_DELIVERIES, BROKEN_DELIVERIES = 3, 8
#: Deliveries of a blocked fact, about five minutes; the stale-job monitor no longer waits for the fact by then.
HELD_UP_DELIVERIES = 20
#: SQLSTATE classes that a value causes; all others are about the database: its schema, its permissions, its disk.
_OF_VALUES = ("21", "22", "23", "54")


def verdict_on(message: Message, error: Exception) -> Verdict:
    """Returns the verdict on a fact that failed when it was applied alone, while the database was available."""
    reason = error_text(error)
    if _is_environmental(error):
        return blocked_verdict(message, reason)
    event(_LOG, logging.ERROR, "fact.refused", subject=message.subject, reason=reason, deliveries=message.delivered)
    if isinstance(error, DBAPIError):
        if message.delivered < REFUSED_DELIVERIES:
            return retry_later(message, first_seconds=REFUSED_SECONDS)
        return Reject(f"the database refuses it: {reason}")
    # A defect may be in this version alone: another one applies the parked fact.
    if message.delivered < _max_deliveries(message, BROKEN_DELIVERIES):
        return retry_later(message, first_seconds=REFUSED_SECONDS)
    return Park(f"applying it fails: {reason}")


def blocked_verdict(message: Message, reason: str) -> Verdict:
    """Returns the verdict on a fact that something else blocks, such as a lock on its job."""
    if message.delivered < _max_deliveries(message, HELD_UP_DELIVERIES):
        return retry_later(message)
    event(_LOG, logging.ERROR, "fact.held_up", subject=message.subject, reason=reason, deliveries=message.delivered)
    return Park(reason)


def _max_deliveries(message: Message, deliveries: int) -> int:
    """Returns the allowed deliveries: 1 for a fact that was parked before, as it has been retried already."""
    return 1 if PARKED_AT in message.headers else deliveries


def error_text(error: Exception) -> str:
    """Returns the text of an error, up to 300 characters, without values of rows."""
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {str(error)[:300]}"
    return str(error.orig)[:300]


def _is_environmental(error: Exception) -> bool:
    """Whether the cause is outside of the fact and this program: the database, the network, memory."""
    if isinstance(error, DBAPIError):
        return not (isinstance(error, (DataError, IntegrityError)) or sqlstate(error).startswith(_OF_VALUES))
    return isinstance(error, (DatabaseUnavailable, OSError, MemoryError))


def retry_later(message: Message, *, first_seconds: float = HELD_UP_SECONDS) -> Retry:
    """Returns a retry whose wait doubles with each delivery."""
    return Retry(min(first_seconds * 2.0 ** min(message.delivered - 1, 16), LONGEST_SECONDS))
