"""Errors of the service as Python exceptions: one class for each way in which callers react."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from calotype.error_reasons import Reason
from calotype.job.v1 import job_service_pb2

_DETAILS = "grpc-status-details-bin"


class CalotypeError(Exception):
    """A call that failed, or whose outcome is unknown.

    `status` is the gRPC status. `reason` is one of the catalogue (`calotype.error.v1.Reason`), or the name of the
    status when the service sent none. `retry_after_seconds` is the wait that the service requested; None when it
    requested none. `fields` maps each invalid field to what is wrong with it. `attempts` is the number of attempts that
    were made.
    """

    def __init__(
        self,
        message: str,
        *,
        status: grpc.StatusCode,
        reason: Reason,
        retry_after_seconds: float | None = None,
        fields: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.fields = dict(fields or {})
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are unpickled without their keyword arguments by default.
        names = ("status", "reason", "retry_after_seconds", "fields", "attempts")
        return partial(type(self), **{name: getattr(self, name) for name in names}), self.args


class InvalidRequest(CalotypeError):
    """The request is invalid, and so is any repetition; `fields` says why."""


class IdempotencyKeyReused(InvalidRequest):
    """The idempotency key was used for another request."""


class NotFound(CalotypeError):
    """The webhook or delivery does not exist or belongs to another tenant."""


class JobNotFound(NotFound):
    """The job does not exist or belongs to another tenant."""


class JobDeleted(CalotypeError):
    """The job of the idempotency key was deleted; no new one is created."""


class WrongState(CalotypeError):
    """The state of the job or delivery, or the job's sequence, does not allow the request."""


class ConsentRequired(WrongState):
    """A retry may be charged twice, and the caller has not consented to that."""


class BudgetExhausted(CalotypeError):
    """The tenant's budget does not cover the job.

    `retry_after_seconds` lasts until the next day or month begins; None when no later one will cover it either.
    """


class NotAllowed(CalotypeError):
    """The caller's credential is missing, unknown or does not allow the request."""


class Unavailable(CalotypeError):
    """The service is unavailable or overloaded; the request may be sent again, with the same idempotency key."""


class DeadlineExceeded(CalotypeError, TimeoutError):
    """No response within the time limit; whether the call was executed is unknown."""


_BY_REASON: Mapping[Reason, type[CalotypeError]] = {
    Reason.IDEMPOTENCY_KEY_REUSED: IdempotencyKeyReused,
    Reason.JOB_DELETED: JobDeleted,
    Reason.CONSENT_REQUIRED: ConsentRequired,
    Reason.BUDGET_EXHAUSTED: BudgetExhausted,
    Reason.SEQUENCE_CHANGED: WrongState,
    Reason.JOB_NOT_FOUND: JobNotFound,
    # Sent by gRPC itself: a message is too large, so a repetition is useless.
    Reason(grpc.StatusCode.RESOURCE_EXHAUSTED.name): CalotypeError,
}
_BY_STATUS: Mapping[grpc.StatusCode, type[CalotypeError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    # A gRPC server that stops ends accepted calls that it has not begun with this status.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def from_rpc_error(error: Any, *, attempts: int = 1) -> CalotypeError:
    """Returns the error of a failed call, from a `grpc.RpcError` of either kind of channel."""
    status: grpc.StatusCode = error.code()
    details, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
    retry, bad = error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    # Malformed details are ignored; the status code remains.
    with suppress(DecodeError):
        details.ParseFromString(_details(error.trailing_metadata()))
        for packed in details.details:
            for detail in (info, retry, bad):
                packed.Unpack(detail)
    reason = Reason(info.reason or status.name)
    return _kind(reason, status)(
        details.message or f"The service returned {status.name}.",
        status=status,
        reason=reason,
        retry_after_seconds=retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 or None,
        fields=_fields(bad.field_violations),
        attempts=attempts,
    )


def from_refusal(refusal: job_service_pb2.ItemRefusal) -> CalotypeError:
    """Returns the error of one item of a batch."""
    status = next((code for code in grpc.StatusCode if code.value[0] == refusal.status_code), grpc.StatusCode.UNKNOWN)
    reason = Reason(refusal.reason or status.name)
    return _kind(reason, status)(
        refusal.message,
        status=status,
        reason=reason,
        retry_after_seconds=refusal.retry_after_seconds or None,
        fields={violation.field: violation.description for violation in refusal.field_violations},
    )


def _kind(reason: Reason, status: grpc.StatusCode) -> type[CalotypeError]:
    return _BY_REASON.get(reason) or _BY_STATUS.get(status, CalotypeError)


def _details(metadata: Any) -> bytes:
    return next((value for key, value in metadata or () if key == _DETAILS), b"")


def _fields(violations: Sequence[error_details_pb2.BadRequest.FieldViolation]) -> dict[str, str]:
    return {violation.field: violation.description for violation in violations}
