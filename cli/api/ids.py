"""Completes ids: any beginning of an id stands for it while no other id begins like that."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.api.client import GatewayApi
from cli.errors import CommandFailed, ExitCode

#: Hexadecimal digits of an id; the first ones are the milliseconds since 1970 at which it was made.
DIGITS, TIME_DIGITS = 32, 12
#: Fewest digits that stand for an id.
MIN_DIGITS = 4
#: An id is made before its object is stored, by the clock of another machine.
SKEW = timedelta(minutes=1)
#: Pages that are read of a list, and objects on each.
MAX_PAGES, PAGE_SIZE = 20, 100
#: Ids that are named when several begin alike.
MAX_NAMED = 5

Page = Callable[[str | None], dict[str, Any]]


def job_id_of(api: GatewayApi, written: str) -> str:
    """Returns the id of the tenant's job that begins with `written`. Raises `CommandFailed` for none or several."""

    def jobs(between: dict[str, str]) -> Iterator[str]:
        params = between | {"page_size": PAGE_SIZE}
        for page in _pages(lambda token: api.send("GET", "/v1/jobs", params=params | _token(token))):
            yield from (job["id"] for job in page["jobs"])

    return _job_id(written, jobs)


def any_job_id_of(api: GatewayApi, written: str) -> str:
    """Returns the id of the job of any tenant that begins with `written`, for operators. Raises `CommandFailed`."""

    def jobs(between: dict[str, str]) -> Iterator[str]:
        params = between | {"page_size": PAGE_SIZE}
        for page in _pages(lambda token: api.send("GET", "/v1/admin/jobs", params=params | _token(token))):
            yield from (found["job"]["id"] for found in page["jobs"])

    return _job_id(written, jobs)


def webhook_id_of(api: GatewayApi, written: str) -> str:
    """Returns the id of the webhook that begins with `written`. Raises `CommandFailed` for none or several."""
    if _digits(written, "wh") is None:
        return written

    def webhooks() -> Iterator[str]:
        params = {"page_size": PAGE_SIZE}
        for page in _pages(lambda token: api.send("GET", "/v1/webhooks", params=params | _token(token))):
            yield from (webhook["id"] for webhook in page["webhooks"])

    return _only(written, "wh", webhooks())


def bulk_action_id_of(api: GatewayApi, written: str) -> str:
    """Returns the id of the bulk action, among the newest, that begins with `written`. Raises `CommandFailed`."""
    if _digits(written, "bulk") is None:
        return written
    listed = api.send("GET", "/v1/admin/bulk-actions")["bulk_actions"]
    return _only(written, "bulk", (action["id"] for action in listed))


def check_delivery_id(written: str) -> None:
    """Raises `CommandFailed` for the beginning of a delivery's id: deliveries are listed by webhook alone."""
    if _digits(written, "msg") is not None:
        advice = "Write the whole id of the delivery; `calotype webhooks deliveries WEBHOOK_ID` prints whole ids."
        raise CommandFailed(advice, ExitCode.USAGE)


def _job_id(written: str, jobs: Callable[[dict[str, str]], Iterator[str]]) -> str:
    digits = _digits(written, "job")
    return written if digits is None else _only(written, "job", jobs(_between(digits)))


def _digits(written: str, kind: str) -> str | None:
    """Returns the digits of the beginning of an id, which may lack the kind; None for a whole id and other text."""
    found = re.fullmatch(rf"(?:{kind}_)?([0-9a-f]{{{MIN_DIGITS},{DIGITS - 1}}})", written)
    return found and found[1]


def _between(digits: str) -> dict[str, str]:
    """Returns the filters for the time in which ids with these first digits were made."""
    first, last = (int(digits[:TIME_DIGITS].ljust(TIME_DIGITS, fill), 16) / 1000 for fill in "0f")
    try:
        after, before = (datetime.fromtimestamp(seconds, UTC) for seconds in (first, last))
        return {"created_after": (after - SKEW).isoformat(), "created_before": (before + SKEW).isoformat()}
    except (ValueError, OverflowError):
        # Of a time that the calendar does not have: no id begins like that.
        return {"created_after": datetime.now(UTC).isoformat()}


def _only(written: str, kind: str, ids: Iterable[str]) -> str:
    begin = written if written.startswith(f"{kind}_") else f"{kind}_{written}"
    found: list[str] = []
    for object_id in ids:
        if object_id.startswith(begin):
            found.append(object_id)
        if len(found) > MAX_NAMED:
            break
    if not found:
        raise CommandFailed(f"No id begins with {begin}.", ExitCode.REFUSED)
    if len(found) > 1:
        named = [*found[:MAX_NAMED], *(["..."] if len(found) > MAX_NAMED else [])]
        raise CommandFailed("\n  ".join([f"Several ids begin with {begin}:", *named]), ExitCode.USAGE)
    return found[0]


def _pages(page: Page) -> Iterator[dict[str, Any]]:
    """Yields the pages of a list. Raises `CommandFailed` if there are more than are read."""
    token: str | None = None
    for _ in range(MAX_PAGES):
        listed = page(token)
        yield listed
        if not (token := listed["next_page_token"]):
            return
    raise CommandFailed("Too many ids may begin like that; write more of it.", ExitCode.USAGE)


def _token(token: str | None) -> dict[str, str]:
    return {"page_token": token} if token else {}
