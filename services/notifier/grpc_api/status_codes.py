"""The table of gRPC statuses by reason of refusal, and the translation of errors."""

from collections.abc import Awaitable
from typing import TypeVar

from calotype.error_reasons import Reason
from grpc import StatusCode
from sqlalchemy.exc import DataError

from common.errors import FieldViolation, ServiceError
from common.postgres import DatabaseUnavailable
from services.notifier.domain.refusals import Refusal

T = TypeVar("T")

STATUS = {
    Reason.NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.QUOTA_EXCEEDED: StatusCode.RESOURCE_EXHAUSTED,
    Reason.INVALID_INPUT: StatusCode.INVALID_ARGUMENT,
    Reason.IDEMPOTENCY_KEY_REUSED: StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_STATE: StatusCode.FAILED_PRECONDITION,
    Reason.SERVICE_UNAVAILABLE: StatusCode.UNAVAILABLE,
}


async def translate_errors(work: Awaitable[T]) -> T:
    """Awaits the work; raises `ServiceError` for each refusal of the domain or the database."""
    try:
        return await work
    except Refusal as refusal:
        raise to_service_error(refusal) from refusal
    except DataError as error:
        unstorable = Refusal(
            Reason.INVALID_INPUT, "A value is out of range, or contains a character that cannot be stored."
        )
        raise to_service_error(unstorable) from error
    except DatabaseUnavailable as error:
        message = "The store of webhooks is unavailable; try again."
        raise to_service_error(Refusal(Reason.SERVICE_UNAVAILABLE, message, retry_after_seconds=1)) from error


def to_service_error(refusal: Refusal) -> ServiceError:
    """Returns the gRPC error of a refusal."""
    return ServiceError(
        status=STATUS[refusal.reason],
        reason=refusal.reason,
        message=refusal.message,
        retry_after_seconds=refusal.retry_after_seconds,
        field_violations=tuple(
            FieldViolation(field=violation.field, description=violation.message) for violation in refusal.violations
        ),
        hides=refusal.hides,
    )
