"""A no, written as `google.rpc.Status` and read back from it."""

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from common.errors import DOMAIN, FieldViolation, ServiceError, from_rpc_error, to_status

DETAILS = "grpc-status-details-bin"
PLAIN: dict[str, Any] = {"status": grpc.StatusCode.NOT_FOUND, "reason": "JOB_NOT_FOUND", "message": "No such job."}
KINDS = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.RetryInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.PreconditionFailure,
)
ERRORS = {
    "plain": PLAIN,
    "for later": PLAIN | {"status": grpc.StatusCode.UNAVAILABLE, "retry_after_seconds": 1.5},
    "for now": PLAIN | {"status": grpc.StatusCode.UNAVAILABLE, "retry_after_seconds": 0.0},
    "of fields": PLAIN
    | {
        "status": grpc.StatusCode.INVALID_ARGUMENT,
        "field_violations": (
            FieldViolation(field="n", description="1 to 10."),
            FieldViolation(field="metadata.ü", description="too long"),
        ),
    },
    "of a state": PLAIN | {"status": grpc.StatusCode.FAILED_PRECONDITION, "reason": "WRONG_STATE"},
    "with data": PLAIN | {"metadata": {"state": "completed", "job": "job_1"}},
    "with all": PLAIN
    | {
        "status": grpc.StatusCode.FAILED_PRECONDITION,
        "retry_after_seconds": 0.25,
        "field_violations": (FieldViolation(field="a", description="b"),),
        "metadata": {"k": "v"},
    },
}


def told(status: status_pb2.Status, code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """The error that a client gets for a status."""
    trailing = grpc.aio.Metadata(("other", "1"), (DETAILS, status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=status.message)


def details_of(status: status_pb2.Status) -> list[Any]:
    """The known details of a status, in order."""
    return [one for packed in status.details for kind in KINDS if packed.Unpack(one := kind())]


@pytest.mark.parametrize("fields", ERRORS.values(), ids=ERRORS)
def test_a_no_is_read_back_as_it_was_written(fields: dict[str, Any]) -> None:
    status = to_status(ServiceError(**fields))
    read = from_rpc_error(told(status, fields["status"]))

    assert {name: getattr(read, name) for name in fields} == fields


@pytest.mark.parametrize("fields", ERRORS.values(), ids=ERRORS)
def test_it_carries_exactly_one_error_info_and_no_other_detail_twice(fields: dict[str, Any]) -> None:
    status = to_status(ServiceError(**fields))
    [info] = [one for one in details_of(status) if isinstance(one, error_details_pb2.ErrorInfo)]

    assert (info.domain, info.reason, dict(info.metadata)) == (DOMAIN, fields["reason"], fields.get("metadata", {}))
    assert (status.code, status.message) == (fields["status"].value[0], fields["message"])
    assert len({one.type_url for one in status.details}) == len(status.details)


@pytest.mark.parametrize("fields", ERRORS.values(), ids=ERRORS)
def test_a_no_that_is_passed_on_keeps_its_one_error_info(fields: dict[str, Any]) -> None:
    first = to_status(ServiceError(**fields))
    again = to_status(from_rpc_error(told(first, fields["status"])))

    assert again == first


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("plain", None),
        ("for later", "RetryInfo"),
        ("for now", "RetryInfo"),
        ("of fields", "BadRequest"),
        ("of a state", "PreconditionFailure"),
        ("with data", None),
    ],
)
def test_it_has_the_details_that_it_needs_and_no_others(name: str, detail: str | None) -> None:
    status = to_status(ServiceError(**ERRORS[name]))

    assert [type(one).__name__ for one in details_of(status)] == ["ErrorInfo", *([detail] if detail else [])]


def test_a_wrong_state_is_told_in_the_standard_form_too() -> None:
    status = to_status(ServiceError(**ERRORS["of a state"]))
    [failure] = [one for one in details_of(status) if isinstance(one, error_details_pb2.PreconditionFailure)]

    assert [(one.type, one.description) for one in failure.violations] == [("WRONG_STATE", "No such job.")]


def test_a_failure_of_the_transport_tells_its_status_and_nothing_of_addresses() -> None:
    words = "failed to connect to all addresses; last error: ipv4:10.1.2.3:50051: Connection refused"
    bare = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details=words)
    read = from_rpc_error(bare)

    assert (read.status, read.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert (read.message, read.retry_after_seconds) == ("The service returned UNAVAILABLE.", None)
    assert "10.1.2.3" not in str(read)


def test_a_status_without_error_info_has_its_code_for_a_reason() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="Too many.")
    read = from_rpc_error(told(status, grpc.StatusCode.RESOURCE_EXHAUSTED))

    assert (read.reason, read.message, read.metadata) == ("RESOURCE_EXHAUSTED", "Too many.", {})


def test_a_detail_of_a_newer_version_is_passed_over() -> None:
    status = to_status(ServiceError(**PLAIN))
    unknown = any_pb2.Any(type_url="type.googleapis.com/calotype.future.v9.Thing", value=b"\x0a\x01x")
    status.details.append(unknown)

    assert from_rpc_error(told(status, grpc.StatusCode.NOT_FOUND)).reason == "JOB_NOT_FOUND"


def test_violations_that_do_not_fit_into_metadata_are_counted() -> None:
    violations = tuple(FieldViolation(field=f"options.{number}", description="ü" * 200) for number in range(50))
    status = to_status(ServiceError(**PLAIN | {"field_violations": violations}))
    read = from_rpc_error(told(status, grpc.StatusCode.NOT_FOUND)).field_violations

    assert status.ByteSize() < 4096
    assert read[:7] == violations[:7]
    assert read[7:] == (FieldViolation(field="...", description="and 43 more"),)


def test_an_error_says_its_reason_and_its_words() -> None:
    assert str(ServiceError(**PLAIN)) == "JOB_NOT_FOUND: No such job."
