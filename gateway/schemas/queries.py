"""Query parameters of lists."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from gateway.schemas.jobs import Code, Stage, Status
from gateway.schemas.requests import ONE_LINE, refused, told

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _rfc3339(written: Any) -> Any:
    if not isinstance(written, str) or not _TIME.fullmatch(written):
        raise refused("Write a time as 2026-01-31T12:00:00Z; a + in an address is written %2B.")
    return written


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise refused("In UTC it must be a time of the years 1 to 9999.") from None


def _plain(written: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in written):
        raise refused("Holds a control character.")
    return written


_Text = Annotated[str, AfterValidator(_plain), told(ONE_LINE)]
_Key = Annotated[_Text, StringConstraints(min_length=1, max_length=40)]
_Value = Annotated[_Text, StringConstraints(max_length=500)]
_Time = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_in_utc)]


class ListJobs(BaseModel):
    """Filters of a list of jobs; all given ones must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    status: Annotated[list[Status], Field(max_length=20)] = []
    """Any of these; may repeat."""
    provider: Annotated[_Text, StringConstraints(max_length=100)] = ""
    failure_stage: Stage | None = None
    code: Code | None = None
    end_user: Annotated[_Text, StringConstraints(max_length=128)] = ""
    created_after: _Time | None = None
    created_before: _Time | None = None
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] = {}
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    page_token: Annotated[_Text, StringConstraints(max_length=2048)] = ""
    """`next_page_token` of the page before; valid for the same filters only."""
