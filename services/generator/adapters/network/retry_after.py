"""The standard header `Retry-After`."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, named as such or by a date; a date that has passed is no time to wait."""
    named = headers.get("retry-after", "").strip()
    try:
        found = float(named)
    except ValueError:
        found = _until(named, headers.get("date", ""))
    return max(found, 0.0) if math.isfinite(found) else None


def _until(named: str, now: str) -> float:
    """Seconds until a date by the sender's own clock, ours where it does not tell; NaN where it is no date."""
    try:
        due = parsedate_to_datetime(named)
    except ValueError:
        return math.nan
    try:
        since = parsedate_to_datetime(now)
    except ValueError:
        since = datetime.now(UTC)
    # A date without a zone is in that of the other, which HTTP's always are.
    return (due.replace(tzinfo=due.tzinfo or UTC) - since.replace(tzinfo=since.tzinfo or UTC)).total_seconds()
