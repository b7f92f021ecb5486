"""What all response models share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema


class View(BaseModel):
    """Base of all response models: every key is present, with null where there is no value."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        # A key with a default is present too.
        json_schema_serialization_defaults_required=True,
    )


def rfc3339(moment: datetime) -> str:
    """Returns a time in UTC as RFC 3339 with microseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A time in UTC as RFC 3339 with microseconds and `Z`, such as `2026-01-31T12:00:00.000000Z`."""
