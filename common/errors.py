"""One error for every gRPC answer that is a no, written as `google.rpc.Status` and read back from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "calotype"
_DETAILS = "grpc-status-details-bin"
#: Bytes. A status is sent as metadata, of which gRPC drops more than 8 KiB, and with it the whole error.
LARGEST_VIOLATIONS = 3000
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class DependencyUnavailable(Exception):
    """Something that this process depends on is away; it should pass, and the message says what it is."""


@dataclass(frozen=True, kw_only=True)
class FieldViolation:
    """A field that cannot be as it is."""

    field: str
    description: str


# Not frozen: the machinery of exceptions sets attributes on what it carries.
@dataclass(kw_only=True, eq=False)
class ServiceError(Exception):
    """An answer that is a no: gRPC status, reason of the catalogue, words for a person."""

    status: grpc.StatusCode
    reason: str
    message: str
    retry_after_seconds: float | None = None
    field_violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Whether what was asked for is there and another tenant's; the asker is not told, the audit is.
    hides: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def is_unanswered(self) -> bool:
        """Whether nobody answered, or not in time: what was asked for may have been done all the same."""
        return self.status in _UNANSWERED


def to_status(error: ServiceError) -> status_pb2.Status:
    """The rich status: exactly one ErrorInfo, then what fits."""
    status = status_pb2.Status(code=error.status.value[0], message=error.message)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata))
    ]
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.field_violations:
        details.append(_bad_request(error.field_violations))
    if error.status is grpc.StatusCode.FAILED_PRECONDITION:
        violation = error_details_pb2.PreconditionFailure.Violation(type=error.reason, description=error.message)
        details.append(error_details_pb2.PreconditionFailure(violations=[violation]))
    for detail in details:
        # The same no is the same bytes, in whatever order its metadata came.
        status.details.add().Pack(detail, deterministic=True)
    return status


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    """The violations that fit, and how many do not."""
    fields, left = [], 0
    room = LARGEST_VIOLATIONS
    for violation in violations:
        one = error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        room -= one.ByteSize()
        if room >= 0:
            fields.append(one)
        else:
            left += 1
    if left:
        more = error_details_pb2.BadRequest.FieldViolation(field="...", description=f"and {left} more")
        fields.append(more)
    return error_details_pb2.BadRequest(field_violations=fields)


def from_rpc_error(error: grpc.Call | grpc.aio.AioRpcError) -> ServiceError:
    """The error that the other side meant; a bare transport failure keeps its status as reason."""
    code: grpc.StatusCode = error.code()
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == _DETAILS:
            return _from_status(status_pb2.Status.FromString(value), code)
    # gRPC's own words name addresses and internals; they are for the log of the caller, not for its users.
    return ServiceError(status=code, reason=code.name, message=f"The service answered {code.name}.")


def _from_status(status: status_pb2.Status, code: grpc.StatusCode) -> ServiceError:
    info, retry, bad = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.BadRequest(),
    )
    seconds = None
    for packed in status.details:
        if packed.Unpack(retry):
            seconds = retry.retry_delay.ToNanoseconds() / 1e9
        elif not packed.Unpack(info):
            packed.Unpack(bad)
    return ServiceError(
        status=code,
        reason=info.reason or code_pb2.Code.Name(status.code),
        message=status.message,
        retry_after_seconds=seconds,
        field_violations=tuple(
            FieldViolation(field=one.field, description=one.description) for one in bad.field_violations
        ),
        metadata=dict(info.metadata),
    )
