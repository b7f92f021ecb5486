"""Batches of new jobs: from protobuf, and their results to protobuf."""

from collections.abc import Callable

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.size_limits import MAX_BATCH_BYTES, MAX_BATCH_JOBS

from services.job.application.batch_submission import JobBatch
from services.job.application.submission import ActionResult, NewJob, fingerprint_of
from services.job.domain.jobs import Snapshot
from services.job.domain.refusals import Refusal
from services.job.grpc_api.status_codes import to_service_error
from services.job.grpc_api.validation import check_names, item_refusal
from services.job.messages import from_protobuf
from services.job.messages.from_protobuf.values import invalid


def batch_of(request: job_service_pb2.CreateJobsRequest, *, traceparent: str | None) -> JobBatch:
    """Returns the batch; an item that cannot be read is its refusal.

    Raises `Refusal` INVALID_INPUT for the number of items, TOO_LARGE, `ServiceError` INVALID_INPUT for the tenant.
    """
    check_names(request.tenant, "")
    if not 1 <= len(request.items) <= MAX_BATCH_JOBS:
        raise invalid("items", f"1 to {MAX_BATCH_JOBS} items.")
    items = [_item(request.tenant, item, traceparent=traceparent) for item in request.items]
    image_bytes = sum(len(data) for item in items if isinstance(item, NewJob) for data in item.input_bytes.values())
    if request.ByteSize() - image_bytes > MAX_BATCH_BYTES:
        message = f"The items have more than {MAX_BATCH_BYTES:,} bytes without their images; send fewer of them."
        raise Refusal(Reason.TOO_LARGE, message)
    return JobBatch(tenant=request.tenant, items=items, quota=from_protobuf.quota(request))


def _item(tenant: str, item: job_service_pb2.CreateJobsItem, *, traceparent: str | None) -> NewJob | Refusal:
    if (refusal := item_refusal(item.idempotency_key, item.fingerprint)) is not None:
        return refusal
    try:
        return NewJob(
            tenant=tenant,
            idempotency_key=item.idempotency_key,
            fingerprint=item.fingerprint or fingerprint(item.request),
            request=from_protobuf.request(item.request),
            input_bytes=from_protobuf.input_bytes(item.request),
            traceparent=traceparent,
        )
    except Refusal as refused:
        return refused


def fingerprint(request: job_pb2.JobRequest) -> str:
    """Returns the fingerprint of a request whose sender gave none."""
    return fingerprint_of(request.SerializeToString(deterministic=True))


def result(
    item: ActionResult | Refusal, to_protobuf: Callable[[Snapshot], job_pb2.Job]
) -> job_service_pb2.CreateJobsResult:
    """Returns the result of an item; a refusal is counted."""
    if isinstance(item, ActionResult):
        return job_service_pb2.CreateJobsResult(job=to_protobuf(item.snapshot), replayed=item.replayed)
    error = to_service_error(item)
    return job_service_pb2.CreateJobsResult(
        refusal=job_service_pb2.ItemRefusal(
            status_code=error.status.value[0],
            reason=error.reason,
            message=error.message,
            field_violations=[
                job_service_pb2.ItemFieldViolation(field=violation.field, description=violation.description)
                for violation in error.field_violations
            ],
            retry_after_seconds=error.retry_after_seconds,
            metadata=error.metadata,
        )
    )
