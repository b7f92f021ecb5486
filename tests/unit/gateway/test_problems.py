import json
import logging

import grpc
import pytest
from calotype.error_reasons import Code, Reason

from common.errors import ServiceError
from gateway.problems.problem import Problem, from_service_error, respond
from gateway.problems.reasons import REASONS, entry, slug


def test_the_table_uses_the_six_codes() -> None:
    assert {one.code for one in REASONS.values()} == set(Code)


@pytest.mark.parametrize(
    ("status", "reason", "http"),
    [
        ("INVALID_ARGUMENT", "INVALID_INPUT", 422),
        ("INVALID_ARGUMENT", "PROVIDER_NOT_FOUND", 422),
        ("INVALID_ARGUMENT", "TOO_LARGE", 413),
        ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED", 422),
        ("NOT_FOUND", "JOB_NOT_FOUND", 404),
        ("FAILED_PRECONDITION", "WRONG_STATE", 409),
        ("FAILED_PRECONDITION", "CONSENT_REQUIRED", 409),
        ("ABORTED", "SEQUENCE_CHANGED", 409),
        ("FAILED_PRECONDITION", "JOB_DELETED", 410),
        ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", 429),
        ("UNAVAILABLE", "SERVICE_UNAVAILABLE", 503),
        ("UNAVAILABLE", "UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 503),
        ("CANCELLED", "CANCELLED", 503),
        ("INTERNAL", "INTERNAL", 500),
        ("UNKNOWN", "UNKNOWN", 500),
        ("UNIMPLEMENTED", "UNIMPLEMENTED", 500),
        ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", 500),
        # The gateway itself is refused; its caller's key is another matter.
        ("UNAUTHENTICATED", "UNAUTHENTICATED", 500),
        ("PERMISSION_DENIED", "PERMISSION_DENIED", 500),
    ],
)
def test_what_job_service_says_has_one_http_status(status: str, reason: str, http: int) -> None:
    said = ServiceError(status=grpc.StatusCode[status], reason=Reason(reason), message="Words.")
    problem = from_service_error(said)
    assert entry(problem.reason).status == http


def test_words_of_the_transport_and_of_defects_stay_inside(caplog: pytest.LogCaptureFixture) -> None:
    for status in ("UNAVAILABLE", "INTERNAL", "UNKNOWN"):
        said = ServiceError(status=grpc.StatusCode[status], reason=Reason(status), message="10.0.0.7:5432 refused")
        assert "10.0.0.7" not in from_service_error(said).detail
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "job_service.failed",
        "job_service.failed",
    ]


def test_an_answer_tells_when_to_ask_again() -> None:
    away = ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="")
    told = respond(from_service_error(away), instance="/v1/jobs", request_id="r")
    assert (told.status_code, told.headers["retry-after"]) == (503, "1")
    limited = ServiceError(
        status=grpc.StatusCode.RESOURCE_EXHAUSTED, reason=Reason.QUOTA_EXCEEDED, message="", retry_after_seconds=6.2
    )
    assert respond(from_service_error(limited), instance="/", request_id="r").headers["retry-after"] == "7"


def test_a_problem_has_every_member() -> None:
    told = respond(
        Problem(reason=Reason.CONSENT_REQUIRED, detail="Say so."), instance="/v1/jobs/x/retry", request_id="r"
    )
    assert told.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(told.body)) == {
        "type": "/problems/consent-required",
        "title": "Your consent is required",
        "status": 409,
        "detail": "Say so.",
        "instance": "/v1/jobs/x/retry",
        "code": "PERMANENT",
        "reason": "CONSENT_REQUIRED",
        "retryable": False,
        "request_id": "r",
        "trace_id": None,
        "errors": [],
        "job": None,
    }


def test_slugs_are_kebab_case() -> None:
    assert slug(Reason.IDEMPOTENCY_KEY_REUSED) == "idempotency-key-reused"
