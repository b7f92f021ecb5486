"""`ServiceError`: the error of every gRPC call, written as `google.rpc.Status` and read back from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from calotype.error_reasons import Reason
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "calotype"
_DETAILS = "grpc-status-details-bin"
#: Bytes that field violations may take. A status is sent as metadata: gRPC drops it, and the error with it, over 8 KiB.
LARGEST_VIOLATIONS = 3000
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)

#: Words of gRPC about a connection that could not be made, and what they mean for an operator.
_CONNECTION_FAILURES = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate has expired, or is of no authority in CALOTYPE_GRPC_TLS_CA_FILE",
    "Hostname Verification Check failed": "its certificate is not for the host of the address",
    "WRONG_VERSION_NUMBER": "it has no TLS, but CALOTYPE_GRPC_TLS_..._FILE of this process requires TLS",
    "Socket closed": "it closes connections at once; it may require TLS, or a certificate of another authority",
}


class DependencyUnavailable(Exception):
    """A dependency of this process is unavailable for now; the message names it."""


@dataclass(frozen=True, kw_only=True)
class FieldViolation:
    """An invalid field of a request."""

    #: Path of the field, such as `request.prompt`.
    field: str
    #: What is wrong with its value, for a person.
    description: str


# Not frozen: Python sets attributes such as `__traceback__` on exceptions.
@dataclass(kw_only=True, eq=False)
class ServiceError(Exception):
    """The error of a gRPC call."""

    #: gRPC status code.
    status: grpc.StatusCode
    #: Machine-readable reason; sent as `ErrorInfo.reason`.
    reason: Reason
    #: What is wrong, for a person.
    message: str
    #: Seconds after which the call may be repeated; None: unknown.
    retry_after_seconds: float | None = None
    #: Fields of the request that are invalid.
    field_violations: tuple[FieldViolation, ...] = ()
    #: Further data, such as an id; sent as `ErrorInfo.metadata`.
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Whether the object exists but belongs to another tenant. The caller does not learn that; the audit log does.
    hides: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def is_unanswered(self) -> bool:
        """Whether the call got no response, or none in time: it may have been executed all the same."""
        return self.status in _UNANSWERED


def to_status(error: ServiceError) -> status_pb2.Status:
    """Returns the status with its details: exactly one ErrorInfo, then those that apply to the error."""
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
        # Equal errors have equal bytes, whatever the order of their metadata.
        status.details.add().Pack(detail, deterministic=True)
    return status


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    """Returns the violations that fit into `LARGEST_VIOLATIONS`, and the number of those that do not."""
    fields, omitted = [], 0
    bytes_left = LARGEST_VIOLATIONS
    for violation in violations:
        entry = error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        bytes_left -= entry.ByteSize()
        if bytes_left >= 0:
            fields.append(entry)
        else:
            omitted += 1
    if omitted:
        rest = error_details_pb2.BadRequest.FieldViolation(field="...", description=f"and {omitted} more")
        fields.append(rest)
    return error_details_pb2.BadRequest(field_violations=fields)


def from_rpc_error(error: grpc.Call | grpc.aio.AioRpcError) -> ServiceError:
    """Returns the error that the server sent; for a failure of the transport, the reason is the status code's name."""
    code: grpc.StatusCode = error.code()
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == _DETAILS:
            return _from_status(status_pb2.Status.FromString(value), code)
    # Messages of gRPC itself name addresses and internals: they must not reach users.
    return ServiceError(status=code, reason=Reason(code.name), message=_transport_message(code, error.details() or ""))


def _transport_message(code: grpc.StatusCode, details: str) -> str:
    # Only for a connection that could not be made do the details have an error before their own.
    _, is_connecting, cause = details.partition("last error: ")
    for words, meaning in _CONNECTION_FAILURES.items() if is_connecting else ():
        if words in cause:
            return f"There is no connection to the service: {meaning}."
    return f"The service returned {code.name}."


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
        reason=Reason(info.reason or code_pb2.Code.Name(status.code)),
        message=status.message,
        retry_after_seconds=seconds,
        field_violations=tuple(
            FieldViolation(field=violation.field, description=violation.description)
            for violation in bad.field_violations
        ),
        metadata=dict(info.metadata),
    )
