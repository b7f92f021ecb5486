"""The standard header `Retry-After`."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Errors of the standard library for texts that are no date; the last one for numbers of absurd size.
_NO_DATE = (ValueError, TypeError, IndexError, OverflowError)


def seconds(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds to wait, from a number or a date; 0 for a date in the past, None for any other text."""
    value = headers.get("retry-after", "").strip()
    try:
        wait = float(value)
    except ValueError:
        wait = _until(value, headers.get("date", ""))
    return max(wait, 0.0) if math.isfinite(wait) else None


def _until(date: str, now: str) -> float:
    """Returns the seconds until a date, by the sender's clock if known, or else by ours; NaN for an invalid date."""
    try:
        due = parsedate_to_datetime(date)
    except _NO_DATE:
        return math.nan
    try:
        since = parsedate_to_datetime(now)
    except _NO_DATE:
        since = datetime.now(UTC)
    # A date without a zone is in UTC, as all dates of HTTP are.
    return (due.replace(tzinfo=due.tzinfo or UTC) - since.replace(tzinfo=since.tzinfo or UTC)).total_seconds()
