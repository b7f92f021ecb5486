"""Reads protobuf values for JSON: enum names without their prefix, unset fields as null, times in UTC."""

from datetime import UTC, datetime
from typing import Any

from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code, Reason
from google.protobuf.message import Message


def enum_name(enum: Any, prefix: str, value: int) -> str | None:
    """Returns the enum name without its prefix; None if unspecified, or if only a newer service knows the value."""
    try:
        stripped = str(enum.Name(value)).removeprefix(f"{prefix}_")
    except ValueError:
        return None
    return None if stripped == "UNSPECIFIED" else stripped


def failure_code(value: int) -> Code | None:
    """Returns the code of a number; None as for `enum_name`."""
    name = enum_name(error_pb2.Code, "CODE", value)
    return None if name is None else Code(name)


def failure_reason(value: int) -> Reason | None:
    """Returns the reason of a number; None as for `enum_name`."""
    name = enum_name(error_pb2.Reason, "REASON", value)
    return None if name is None else Reason(name)


def lower_enum_name(enum: Any, prefix: str, value: int) -> Any:
    """Returns the enum name without its prefix, in lower case; None as for `enum_name`."""
    name = enum_name(enum, prefix, value)
    return None if name is None else name.lower()


def optional(message: Message, field: str) -> Any:
    """Returns the value of a field; None if it is not set."""
    return getattr(message, field) if message.HasField(field) else None


def optional_time(message: Message, field: str) -> Any:
    """Returns a timestamp in UTC; None if it is not set."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def required_time(message: Message, field: str) -> datetime:
    """Returns a timestamp in UTC that is always set."""
    time: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    return time
