"""Protobuf values as JSON has them: names of enums without prefix, absent as null, times in UTC."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message


def name(enum: Any, prefix: str, value: int) -> str | None:
    """The name of `PREFIX_NAME`; None when unspecified, or of a newer sender."""
    try:
        bare = str(enum.Name(value)).removeprefix(f"{prefix}_")
    except ValueError:
        return None
    return None if bare == "UNSPECIFIED" else bare


def lower(enum: Any, prefix: str, value: int) -> Any:
    """The same in lower case."""
    written = name(enum, prefix, value)
    return None if written is None else written.lower()


def given(message: Message, field: str) -> Any:
    """A field that may be absent."""
    return getattr(message, field) if message.HasField(field) else None


def moment(message: Message, field: str) -> Any:
    """A time that may be absent."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def sure_moment(message: Message, field: str) -> datetime:
    """A time that is always there."""
    found: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    return found
