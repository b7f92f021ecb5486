"""What a service says no with, as Python errors: one class per thing that a caller does about it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"


class CalotypeError(Exception):
    """A request that was not done, or of which it is not known whether it was.

    `reason` is one of the catalogue (`calotype.error.v1.Reason`), or the name of a gRPC status when the service itself
    said nothing. `fields` maps each field that cannot be as it is to what is wrong with it. `attempts` is how often the
    service was asked.
    """

    def __init__(
        self,
        message: str,
        *,
        status: grpc.StatusCode,
        reason: str,
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
        # Pickled by hand: by itself an exception is made anew without its keyword arguments.
        told = ("status", "reason", "retry_after_seconds", "fields", "attempts")
        return partial(type(self), **{name: getattr(self, name) for name in told}), self.args


class InvalidRequest(CalotypeError):
    """The request can never be done as it is; `fields` says why."""


class IdempotencyKeyReused(InvalidRequest):
    """The key was used for another request."""


class NotFound(CalotypeError):
    """There is no such webhook or delivery, or it is another tenant's."""


class JobNotFound(NotFound):
    """There is no such job, or it is another tenant's."""


class JobDeleted(CalotypeError):
    """The key's job was deleted; no new one is made."""


class WrongState(CalotypeError):
    """The job or delivery is in a state, or the job at a sequence, in which this cannot be done."""


class ConsentRequired(WrongState):
    """A retry might pay twice, and nobody said that this is fine."""


class BudgetExhausted(CalotypeError):
    """The tenant's budget does not cover it; `retry_after_seconds` is how long until the next day or month begins."""


class NotAllowed(CalotypeError):
    """The caller is unknown, or may not do this."""


class Unavailable(CalotypeError):
    """The service is away or takes no more now; the request may be sent again, under its own key."""


class DeadlineExceeded(CalotypeError, TimeoutError):
    """No answer within the time that was given; it is not known what became of the request."""


_BY_REASON: Mapping[str, type[CalotypeError]] = {
    "IDEMPOTENCY_KEY_REUSED": IdempotencyKeyReused,
    "JOB_DELETED": JobDeleted,
    "CONSENT_REQUIRED": ConsentRequired,
    "BUDGET_EXHAUSTED": BudgetExhausted,
    "SEQUENCE_CHANGED": WrongState,
    "JOB_NOT_FOUND": JobNotFound,
    # Not the service's word but gRPC's own: a message is too large, and so it will be again.
    "RESOURCE_EXHAUSTED": CalotypeError,
}
_BY_STATUS: Mapping[grpc.StatusCode, type[CalotypeError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    # So a gRPC server that stops ends the calls that it has taken and not begun.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def read(error: Any, *, attempts: int = 1) -> CalotypeError:
    """The error that the service meant by a failed call (`grpc.RpcError` of either kind of channel)."""
    status: grpc.StatusCode = error.code()
    told, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
    retry, bad = error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    # Details that are none say nothing; the status is left.
    with suppress(DecodeError):
        told.ParseFromString(_details(error.trailing_metadata()))
        for packed in told.details:
            for one in (info, retry, bad):
                packed.Unpack(one)
    reason = info.reason or status.name
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(status, CalotypeError)
    return kind(
        told.message or f"The service answered {status.name}.",
        status=status,
        reason=reason,
        retry_after_seconds=retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 or None,
        fields=_fields(bad.field_violations),
        attempts=attempts,
    )


def _details(metadata: Any) -> bytes:
    return next((value for key, value in metadata or () if key == _DETAILS), b"")


def _fields(violations: Sequence[error_details_pb2.BadRequest.FieldViolation]) -> dict[str, str]:
    return {one.field: one.description for one in violations}
