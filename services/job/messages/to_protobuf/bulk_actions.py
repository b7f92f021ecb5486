"""Bulk actions of operators as protobuf messages."""

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import bulk_action_service_pb2, job_admin_service_pb2

from services.job.domain.bulk_actions import BulkAction, BulkActionRequest
from services.job.domain.job_filter import JobFilter
from services.job.messages.enums import number
from services.job.messages.to_protobuf.values import timestamp


def bulk_action(value: BulkAction) -> bulk_action_service_pb2.BulkAction:
    """Returns a bulk action with its progress."""
    return bulk_action_service_pb2.BulkAction(
        id=value.id,
        request=_request(value.request),
        requested_by=value.requested_by,
        state=number(bulk_action_service_pb2.BulkActionState, "BULK_ACTION_STATE", value.state),
        matched=value.matched,
        is_matched_exact=value.is_exact,
        done=value.done,
        skipped=value.skipped,
        failures=[
            bulk_action_service_pb2.BulkActionFailure(reason=reason, count=jobs.count, job_id=jobs.job_id)
            for reason, jobs in sorted(value.refused.items())
        ],
        created_at=timestamp(value.created_at),
        finished_at=timestamp(value.finished_at),
    )


def _request(value: BulkActionRequest) -> bulk_action_service_pb2.BulkActionRequest:
    return bulk_action_service_pb2.BulkActionRequest(
        kind=number(bulk_action_service_pb2.BulkActionKind, "BULK_ACTION_KIND", value.kind),
        filter=_filter(value.filter),
        on_ambiguous=job_pb2.ON_AMBIGUOUS_RETRY if value.consents else job_pb2.ON_AMBIGUOUS_UNSPECIFIED,
    )


def _filter(value: JobFilter) -> job_admin_service_pb2.JobFilter:
    return job_admin_service_pb2.JobFilter(
        tenant=value.tenant,
        statuses=[number(job_pb2.Status, "STATUS", state) for state in value.states],
        job_id=value.job_id,
        operation_id=value.operation_id,
        end_user=value.end_user,
        reason=value.reason,
        code=number(error_pb2.Code, "CODE", value.code or None),
        provider=value.provider,
        created_after=timestamp(value.created_after),
        created_before=timestamp(value.created_before),
    )
