"""The table `event_cursor`: the position in job-service's feed of final events."""

from dataclasses import dataclass
from datetime import datetime

from common.sql import Connection, text

RESTART = """
UPDATE event_cursor SET resume_token = NULL, since = greatest(since, (
    SELECT occurred_at FROM webhook_deliveries WHERE job_id IS NOT NULL ORDER BY id DESC LIMIT 1) - interval '1 day')
"""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """A position in the feed."""

    #: Token after which the feed is read; None before the first page.
    resume_token: str | None
    #: Without a token, the feed is read from this time on.
    since: datetime


def read(connection: Connection) -> Cursor:
    """Returns the position."""
    return Cursor(**connection.execute(text("SELECT resume_token, since FROM event_cursor")).mappings().one())


def lock(connection: Connection) -> Cursor:
    """Returns the position and keeps others from moving it until commit."""
    statement = text("SELECT resume_token, since FROM event_cursor FOR UPDATE")
    return Cursor(**connection.execute(statement).mappings().one())


def hold(connection: Connection) -> None:
    """Keeps the position where it is until commit.

    An endpoint is created meanwhile: events that a later fan-out reads are delivered to it, and no others.
    """
    connection.execute(text("SELECT 1 FROM event_cursor FOR SHARE"))


def restart(connection: Connection) -> None:
    """Has the feed read without a token, from a day before the newest event that was stored.

    The transaction has locked the position. What is read a second time has its deliveries already.
    """
    connection.execute(text(RESTART))


def move(connection: Connection, resume_token: str) -> None:
    """Moves the position, which this transaction has locked."""
    connection.execute(text("UPDATE event_cursor SET resume_token = :token"), {"token": resume_token})
