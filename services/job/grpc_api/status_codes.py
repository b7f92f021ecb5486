"""The table of gRPC statuses by reason of refusal, and the translation of errors."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from grpc import StatusCode
from sqlalchemy.exc import DataError, IntegrityError

from common.errors import FieldViolation, ServiceError
from common.postgres import DatabaseUnavailable, constraint
from services.job.domain.refusals import Refusal
from services.job.domain.transitions import IllegalTransition

T = TypeVar("T")

STATUS = {
    "JOB_NOT_FOUND": StatusCode.NOT_FOUND,
    "CALL_NOT_FOUND": StatusCode.NOT_FOUND,
    "NOT_FOUND": StatusCode.NOT_FOUND,
    "PROVIDER_BUSY": StatusCode.RESOURCE_EXHAUSTED,
    "QUOTA_EXCEEDED": StatusCode.RESOURCE_EXHAUSTED,
    "PROVIDER_NOT_FOUND": StatusCode.INVALID_ARGUMENT,
    "INVALID_INPUT": StatusCode.INVALID_ARGUMENT,
    "UNSUPPORTED": StatusCode.INVALID_ARGUMENT,
    "TOO_LARGE": StatusCode.INVALID_ARGUMENT,
    "IDEMPOTENCY_KEY_REUSED": StatusCode.INVALID_ARGUMENT,
    "WRONG_STATE": StatusCode.FAILED_PRECONDITION,
    "SEQUENCE_CHANGED": StatusCode.ABORTED,
    "CONSENT_REQUIRED": StatusCode.FAILED_PRECONDITION,
    "BUDGET_EXHAUSTED": StatusCode.FAILED_PRECONDITION,
    "ALREADY_BOUGHT": StatusCode.FAILED_PRECONDITION,
    "JOB_DELETED": StatusCode.FAILED_PRECONDITION,
    "LEASE_LOST": StatusCode.ABORTED,
    "SERVICE_UNAVAILABLE": StatusCode.UNAVAILABLE,
}


async def translate_errors(work: Callable[[], Awaitable[T]]) -> T:
    """Runs the work; raises `ServiceError` for each refusal of the domain or the database."""
    try:
        return await work()
    except Refusal as refusal:
        raise to_service_error(refusal) from refusal
    except IllegalTransition as error:
        raise to_service_error(Refusal("WRONG_STATE", str(error))) from error
    except IntegrityError as error:
        # The database's last guard against a second purchase; `domain.calls.check_purchase` refuses it before.
        if constraint(error) != "an_image_is_bought_once":
            raise
        raise to_service_error(Refusal("ALREADY_BOUGHT", "Another call covers one of these images.")) from error
    except DataError as error:
        unstorable = Refusal("INVALID_INPUT", "A value is out of range, or contains a character that cannot be stored.")
        raise to_service_error(unstorable) from error
    except DatabaseUnavailable as error:
        unavailable = Refusal("SERVICE_UNAVAILABLE", "The job store is unavailable; try again.", retry_after_seconds=1)
        raise to_service_error(unavailable) from error


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
        metadata=refusal.metadata,
        hides=refusal.hides,
    )
