"""Query parameters of lists."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from calotype.size_limits import (
    MAX_END_USER_CHARACTERS,
    MAX_METADATA_ENTRIES,
    MAX_METADATA_KEY_CHARACTERS,
    MAX_METADATA_VALUE_CHARACTERS,
    MAX_PROVIDER_CHARACTERS,
)
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from gateway.schemas.jobs import CodeName, Stage, Status
from gateway.schemas.requests import SINGLE_LINE, documented_pattern, refused

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _rfc3339(text: Any) -> Any:
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise refused("Write a time as 2026-01-31T12:00:00Z; write + as %2B in a URL.")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise refused("Must be in the years 1 to 9999 in UTC.") from None


def _plain(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise refused("Contains a control character.")
    return text


#: One line of text without control characters.
PlainText = Annotated[str, AfterValidator(_plain), documented_pattern(SINGLE_LINE)]
_Key = Annotated[PlainText, StringConstraints(min_length=1, max_length=MAX_METADATA_KEY_CHARACTERS)]
_Value = Annotated[PlainText, StringConstraints(max_length=MAX_METADATA_VALUE_CHARACTERS)]
#: A time as RFC 3339 writes it; in UTC once it is validated.
Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_rfc3339), AfterValidator(_in_utc)]


class ListJobs(BaseModel):
    """Filters and page of a list of jobs; a job must match every filter."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    status: Annotated[list[Status], Field(max_length=20)] = []
    """Jobs in any of these states; repeat the parameter for several."""
    provider: Annotated[PlainText, StringConstraints(max_length=MAX_PROVIDER_CHARACTERS)] = ""
    """Jobs that are routed to this provider."""
    failure_stage: Stage | None = None
    """Jobs that failed in this stage."""
    code: Annotated[CodeName | None, Field(title="Code")] = None
    """Jobs that failed with this class of failure."""
    end_user: Annotated[PlainText, StringConstraints(max_length=MAX_END_USER_CHARACTERS)] = ""
    """Jobs of this `end_user`."""
    created_after: Time | None = None
    """Jobs accepted after this time (RFC 3339, such as `2026-01-31T12:00:00Z`; write `+` as `%2B`)."""
    created_before: Time | None = None
    """Jobs accepted before this time (RFC 3339)."""
    metadata: Annotated[dict[_Key, _Value], Field(max_length=MAX_METADATA_ENTRIES)] = {}
    """Jobs whose metadata has this value for the key `KEY`; repeat the parameter for up to 16 keys."""
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    """Most jobs of the page. A page can be shorter, even empty, before the last one: one call examines 1,000 jobs."""
    page_token: Annotated[PlainText, StringConstraints(max_length=2048)] = ""
    """`next_page_token` of the page before; only valid with the same filters. Left out: the first page."""
