"""Reads a batch of new jobs: each item is validated by itself."""

from typing import Any

from calotype.job.v1 import job_service_pb2
from calotype.size_limits import MAX_BATCH_JOBS

from gateway.problems.problem import Problem, Violation, invalid, malformed
from gateway.requests import strict_json, to_protobuf, validation
from gateway.schemas.job_batches import CreateBatchJob

_FIELD = "jobs"


def parse(raw: bytes) -> list[job_service_pb2.CreateJobsItem | Problem]:
    """Returns each item, or what is wrong with it.

    An item that equals the body of a single submission has the same fingerprint. Raises `Problem`: MALFORMED, or
    INVALID_INPUT for another field than `jobs` and for a wrong number of items.
    """
    body = strict_json.load(raw)
    items = body.pop(_FIELD, None)
    strict_json.reject_unstorable(body)
    violations = [Violation(field=strict_json.join("", name), message="Unknown field.") for name in body]
    if not isinstance(items, list):
        violations.append(Violation(field=_FIELD, message="Must be a list."))
    elif not 1 <= len(items) <= MAX_BATCH_JOBS:
        violations.append(Violation(field=_FIELD, message=f"Must be 1 to {MAX_BATCH_JOBS} jobs."))
    if violations:
        raise invalid(violations)
    return [_item(item) for item in items]


def _item(value: Any) -> job_service_pb2.CreateJobsItem | Problem:
    if not isinstance(value, dict):
        return malformed("The job must be a JSON object.")
    try:
        strict_json.reject_unstorable(value)
        item = validation.check(CreateBatchJob, value)
    except Problem as problem:
        return problem
    as_single = {name: field for name, field in value.items() if name != "idempotency_key"}
    return job_service_pb2.CreateJobsItem(
        idempotency_key=item.idempotency_key or "",
        request=to_protobuf.job_request(item),
        fingerprint=strict_json.fingerprint(as_single),
    )
