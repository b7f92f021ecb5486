"""Reads final events: pages of the feed, and single events by job and sequence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from calotype.error_reasons import Reason

from common.sql import Connection
from services.job.application.page_tokens import PAGE_TOKENS, PageTokens
from services.job.domain.final_events import FinalEvent, FinalEventReference
from services.job.domain.jobs import Snapshot
from services.job.domain.refusals import Refusal, Violation
from services.job.store import feed, secrets

T = TypeVar("T")
#: Events of a page without `page_size`, and of the largest page.
DEFAULT_PAGE, LARGEST_PAGE = 100, 1_000
#: Events that are returned by key at once.
MAX_KEYS = 100
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """A page of final events."""

    #: In the order of the feed.
    events: Sequence[T]
    #: Token of the next page; "" at the end.
    next_page_token: str
    #: Token by which a later call continues after this page; never "".
    resume_token: str


def list_snapshots(
    connection: Connection, *, since: datetime | None, page_size: int, page_token: str
) -> Page[Snapshot]:
    """Returns jobs as they were at final events: those after the token's position that occurred after `since`.

    Every event that is committed by now gets its position here, so that a reader with a token misses none.
    `page_size` 0 means 100; at most 1,000 are returned. Raises `Refusal` INVALID_INPUT.
    """
    return _page(connection, feed.after, since=since, page_size=page_size, page_token=page_token)


def list_references(
    connection: Connection, *, since: datetime | None, page_size: int, page_token: str
) -> Page[FinalEventReference]:
    """Returns the events that `list_snapshots` does, without the jobs' content; tokens of both are valid for both."""
    return _page(connection, feed.references_after, since=since, page_size=page_size, page_token=page_token)


def get_by_key(connection: Connection, keys: Sequence[tuple[str, int]]) -> list[FinalEvent]:
    """Returns the final events of job ids and sequences, in any order; unknown ones are left out.

    Raises `Refusal` INVALID_INPUT unless there are 1 to 100 keys, each once.
    """
    if not 1 <= len(keys) <= MAX_KEYS or len(set(keys)) != len(keys):
        raise _invalid("keys", f"1 to {MAX_KEYS} events, each once.")
    return feed.by_key(connection, keys)


def _page(
    connection: Connection,
    read: Callable[..., list[tuple[T, datetime]]],
    *,
    since: datetime | None,
    page_size: int,
    page_token: str,
) -> Page[T]:
    if page_size < 0:
        raise _invalid("page_size", f"1 to {LARGEST_PAGE:,}.")
    size, earliest = min(page_size or DEFAULT_PAGE, LARGEST_PAGE), since or _BEFORE_ALL
    tokens = PageTokens(secrets.read(connection, PAGE_TOKENS), of="final events")
    # No position is earlier than its event.
    position = datetime.fromisoformat(tokens.open(page_token)[0]) if page_token else earliest
    positioned = feed.extend(connection)
    found = read(connection, position, since=earliest, limit=size + 1)
    page = found[:size]
    token = tokens.seal((page[-1][1] if page else position).isoformat())
    is_end = len(found) <= size and positioned < feed.MAX_POSITIONED
    return Page(events=[event for event, _ in page], next_page_token="" if is_end else token, resume_token=token)


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(Reason.INVALID_INPUT, f"{field}: {message}", violations=(Violation(field=field, message=message),))
