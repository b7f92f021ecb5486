"""The table of gRPC statuses by reason of refusal, and the translation of errors."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from calotype.error_reasons import Reason
from grpc import StatusCode
from sqlalchemy.exc import DataError, IntegrityError

from common.errors import FieldViolation, ServiceError
from common.postgres import DatabaseUnavailable, constraint
from common.telemetry import metrics, registry
from services.job.domain.refusals import Refusal
from services.job.domain.transitions import IllegalTransition

T = TypeVar("T")

STATUS = {
    Reason.JOB_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.CALL_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.PROVIDER_BUSY: StatusCode.RESOURCE_EXHAUSTED,
    Reason.QUOTA_EXCEEDED: StatusCode.RESOURCE_EXHAUSTED,
    Reason.PROVIDER_NOT_FOUND: StatusCode.INVALID_ARGUMENT,
    Reason.INVALID_INPUT: StatusCode.INVALID_ARGUMENT,
    Reason.UNSUPPORTED: StatusCode.INVALID_ARGUMENT,
    Reason.TOO_LARGE: StatusCode.INVALID_ARGUMENT,
    Reason.IDEMPOTENCY_KEY_REUSED: StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_STATE: StatusCode.FAILED_PRECONDITION,
    Reason.SEQUENCE_CHANGED: StatusCode.ABORTED,
    Reason.CONSENT_REQUIRED: StatusCode.FAILED_PRECONDITION,
    Reason.BUDGET_EXHAUSTED: StatusCode.FAILED_PRECONDITION,
    Reason.ALREADY_BOUGHT: StatusCode.FAILED_PRECONDITION,
    Reason.JOB_DELETED: StatusCode.FAILED_PRECONDITION,
    Reason.LEASE_LOST: StatusCode.ABORTED,
    Reason.SERVICE_UNAVAILABLE: StatusCode.UNAVAILABLE,
}


async def translate_errors(work: Callable[[], Awaitable[T]]) -> T:
    """Runs the work; raises `ServiceError` for each refusal of the domain or the database."""
    try:
        return await work()
    except Refusal as refusal:
        raise to_service_error(refusal) from refusal
    except IllegalTransition as error:
        raise to_service_error(Refusal(Reason.WRONG_STATE, str(error))) from error
    except IntegrityError as error:
        # The database's last guard against a second purchase; `domain.calls.check_purchase` refuses it before.
        if constraint(error) != "an_image_is_bought_once":
            raise
        raise to_service_error(Refusal(Reason.ALREADY_BOUGHT, "Another call covers one of these images.")) from error
    except DataError as error:
        unstorable = Refusal(
            Reason.INVALID_INPUT, "A value is out of range, or contains a character that cannot be stored."
        )
        raise to_service_error(unstorable) from error
    except DatabaseUnavailable as error:
        unavailable = Refusal(
            Reason.SERVICE_UNAVAILABLE, "The job store is unavailable; try again.", retry_after_seconds=1
        )
        raise to_service_error(unavailable) from error


def to_service_error(refusal: Refusal) -> ServiceError:
    """Returns the gRPC error of a refusal, and counts it."""
    metrics.count(registry.REFUSALS, str(refusal.reason))
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
