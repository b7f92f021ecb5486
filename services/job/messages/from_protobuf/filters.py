"""Filters and bulk actions of operators as domain values."""

from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import bulk_action_service_pb2, job_admin_service_pb2

from services.job.domain.bulk_actions import BulkActionKind, BulkActionRequest
from services.job.domain.job_filter import JobFilter
from services.job.domain.states import State
from services.job.messages.enums import member
from services.job.messages.from_protobuf.values import invalid, moment


def job_filter(message: job_admin_service_pb2.JobFilter) -> JobFilter:
    """Returns the filter. Raises `Refusal` INVALID_INPUT for an unknown status or code, and for an invalid time."""
    code = member(Code, error_pb2.Code, "CODE", message.code)
    if code is None and message.code:
        raise invalid("code", f"There is no {message.code}.")
    return JobFilter(
        tenant=message.tenant,
        states=tuple(_state(status) for status in message.statuses),
        job_id=message.job_id,
        operation_id=message.operation_id,
        end_user=message.end_user,
        reason=message.reason,
        code=code or "",
        provider=message.provider,
        created_after=moment(message, "created_after"),
        created_before=moment(message, "created_before"),
    )


def bulk_action_request(message: bulk_action_service_pb2.BulkActionRequest) -> BulkActionRequest:
    """Returns the request. Raises `Refusal` INVALID_INPUT for an unknown kind, and for the reasons of `job_filter`."""
    kind = member(BulkActionKind, bulk_action_service_pb2.BulkActionKind, "BULK_ACTION_KIND", message.kind)
    if kind is None:
        raise invalid("action", "cancel or retry.")
    consents = message.on_ambiguous == job_pb2.ON_AMBIGUOUS_RETRY
    return BulkActionRequest(kind=kind, filter=job_filter(message.filter), consents=consents)


def _state(status: int) -> State:
    state = member(State, job_pb2.Status, "STATUS", status)
    if state is None:
        # Ignored, it would filter nothing, and the caller would take every job for one of this status.
        raise invalid("statuses", f"There is no status {status}.")
    return state
