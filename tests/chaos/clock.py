"""The database's clock in the suite's hands: it is set forward and back while services work.

Each moment that the database writes down says by its last three digits of microseconds how often the clock had been
set before, so that it can be told later what time it really was.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

#: How far it is set, in seconds: longer than leases, shorter than the limits of a stage.
STEP_SECONDS = 10.0
#: Moments that are written down as they are; others are reckoned from them.
MOMENTS = frozenset(
    {
        "accepted_at",
        "completed_at",
        "created_at",
        "deleted_at",
        "ended_at",
        "noted_at",
        "occurred_at",
        "opened_at",
        "seen_empty_at",
        "settled_at",
        "staged_at",
        "started_at",
        "stored_at",
    }
)
SET_UP = """
CREATE SCHEMA skew;
CREATE TABLE skew.steps (number int PRIMARY KEY, ahead interval NOT NULL, at timestamptz NOT NULL);
INSERT INTO skew.steps VALUES (0, '0 s', pg_catalog.clock_timestamp());
CREATE TABLE skew.clock (number int NOT NULL, ahead interval NOT NULL);
INSERT INTO skew.clock VALUES (0, '0 s');
CREATE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT date_trunc('milliseconds', pg_catalog.clock_timestamp() + ahead) + number * interval '1 microsecond'
    FROM skew.clock $$;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = skew, pg_catalog, public', current_database());
END $$
"""
STEP = """
WITH moved AS (
    UPDATE skew.clock SET number = number + 1, ahead = ahead + make_interval(secs => %s) RETURNING number, ahead
)
INSERT INTO skew.steps SELECT number, ahead, pg_catalog.clock_timestamp() FROM moved
"""


def take_over(connection: Any) -> None:
    """Connections that are opened from now on read this clock."""
    with connection, connection.cursor() as cursor:
        cursor.execute(SET_UP)


def step(connection: Any, seconds: float) -> None:
    """Set the clock forward, or back."""
    with connection, connection.cursor() as cursor:
        cursor.execute(STEP, (seconds,))


class RealTime:
    """What time it really was, from what the database wrote down."""

    def __init__(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT number, ahead FROM skew.steps")
            self._ahead: Mapping[int, timedelta] = dict(cursor.fetchall())

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its moments as they were; `ahead` is how far the clock was then, of an event."""
        found = {
            name: value - self._then(value) if name in MOMENTS and value is not None else value
            for name, value in row.items()
        }
        return found | {"ahead": self._then(row["occurred_at"])} if "occurred_at" in row else found

    def _then(self, told: datetime) -> timedelta:
        return self._ahead[told.microsecond % 1000]
