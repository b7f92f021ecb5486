"""Values that several messages share: tokens, fences, times, optional fields."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from calotype.error_reasons import Reason
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import worker_service_pb2

from services.job.domain.jobs import Fence
from services.job.domain.refusals import Refusal, Violation


class Undecodable(Exception):
    """A message that no version of its sender may send."""


def token(text: str, field: str = "lease_token") -> UUID:
    """Returns a UUID. Raises `Refusal` INVALID_INPUT."""
    try:
        return UUID(text)
    except ValueError as error:
        raise Refusal(Reason.INVALID_INPUT, f"{field}: not a UUID.") from error


def fence(message: worker_service_pb2.Lease | fact_pb2.Fence) -> Fence:
    """Returns the claim that a message names. Raises `Refusal` INVALID_INPUT."""
    return Fence(job_id=message.job_id, claim_number=message.claim_number, lease_token=token(message.lease_token))


def moment(message: Any, field: str) -> datetime | None:
    """Returns a timestamp in UTC, None when absent. Raises `Refusal` INVALID_INPUT outside the years 1 to 9999."""
    if not message.HasField(field):
        return None
    try:
        time: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(field, "Must be a time of the years 1 to 9999.") from error
    return time


def optional(message: Any, field: str) -> Any:
    """Returns the value of an optional field, None when absent."""
    return getattr(message, field) if message.HasField(field) else None


def invalid(field: str, message: str) -> Refusal:
    """Builds the refusal INVALID_INPUT of one field."""
    return Refusal(Reason.INVALID_INPUT, f"{field}: {message}", violations=(Violation(field=field, message=message),))
