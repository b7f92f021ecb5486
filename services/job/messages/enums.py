"""Converts domain enums and names to protobuf numbers and back."""

from enum import StrEnum
from typing import Any, TypeVar

from calotype.error.v1 import error_pb2
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2

from services.job.domain.requests import Priority

E = TypeVar("E", bound=StrEnum)

PRIORITY_OUT = {
    Priority.HIGH: job_pb2.PRIORITY_HIGH,
    Priority.NORMAL: job_pb2.PRIORITY_NORMAL,
    Priority.LOW: job_pb2.PRIORITY_LOW,
}
PRIORITY_IN = {number: priority for priority, number in PRIORITY_OUT.items()}


def number(enum: Any, prefix: str, value: str | None) -> Any:
    """Returns the number of `PREFIX_VALUE`; that of `PREFIX_UNSPECIFIED` for None."""
    return enum.Value(f"{prefix}_{(value or 'unspecified').upper()}")


def member(kind: type[E], enum: Any, prefix: str, value: int) -> E | None:
    """Returns the domain's member for a number; None when unspecified or unknown."""
    try:
        bare = enum.Name(value).removeprefix(f"{prefix}_")
    except ValueError:
        return None
    return next((candidate for candidate in kind if candidate.value.upper() == bare.upper()), None)


def reason_number(reason: Reason) -> Any:
    """Returns the number of a reason; that of UNCLASSIFIED for a name unknown to this version."""
    name = f"REASON_{reason}"
    return error_pb2.Reason.Value(name) if name in error_pb2.Reason.keys() else error_pb2.REASON_UNCLASSIFIED  # noqa: SIM118 - not a dict


def reason(value: int) -> Reason:
    """Returns the reason of a number; UNCLASSIFIED for an unknown number."""
    try:
        return Reason(error_pb2.Reason.Name(error_pb2.Reason.ValueType(value)).removeprefix("REASON_"))
    except ValueError:
        return Reason.UNCLASSIFIED
