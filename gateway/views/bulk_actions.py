"""Converts bulk actions of operators to JSON views."""

from calotype.job.v1 import job_pb2
from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1.job_admin_service_pb2 import JobFilter

from gateway.schemas.bulk_actions import BulkActionView, BulkFilterView, BulkPreviewView, BulkRefusalView
from gateway.views.protobuf import failure_code, lower_enum_name, optional_time, required_time


def preview(message: bulk.PreviewBulkActionResponse) -> BulkPreviewView:
    """Returns the view of a preview."""
    return BulkPreviewView(
        matched=message.matched, is_matched_exact=message.is_matched_exact, job_ids=[*message.job_ids]
    )


def bulk_action(message: bulk.BulkAction) -> BulkActionView:
    """Returns the view of a bulk action."""
    request = message.request
    return BulkActionView(
        id=message.id,
        action=lower_enum_name(bulk.BulkActionKind, "BULK_ACTION_KIND", request.kind),
        filter=_filter(request.filter),
        on_ambiguous="retry" if request.on_ambiguous == job_pb2.ON_AMBIGUOUS_RETRY else "fail",
        requested_by=message.requested_by,
        status=lower_enum_name(bulk.BulkActionState, "BULK_ACTION_STATE", message.state),
        matched=message.matched,
        is_matched_exact=message.is_matched_exact,
        done=message.done,
        skipped=message.skipped,
        refused=sum(refusal.count for refusal in message.failures),
        refusals=[
            BulkRefusalView(reason=refusal.reason, count=refusal.count, job_id=refusal.job_id)
            for refusal in message.failures
        ],
        created_at=required_time(message, "created_at"),
        finished_at=optional_time(message, "finished_at"),
    )


def _filter(message: JobFilter) -> BulkFilterView:
    return BulkFilterView(
        tenant=message.tenant or None,
        status=[lower_enum_name(job_pb2.Status, "STATUS", status) for status in message.statuses],
        id=message.job_id or None,
        operation_id=message.operation_id or None,
        end_user=message.end_user or None,
        reason=message.reason or None,
        code=failure_code(message.code),
        provider=message.provider or None,
        created_after=optional_time(message, "created_after"),
        created_before=optional_time(message, "created_before"),
    )
