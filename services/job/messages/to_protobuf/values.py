"""Values that several messages share: times, failures, warnings."""

from datetime import datetime

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.job.domain.failures import Failure
from services.job.domain.jobs import JobWarning
from services.job.messages.enums import number, reason_number


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Returns a timestamp; None for None."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def failure(value: Failure | None) -> error_pb2.Failure | None:
    """Returns a failure; None for None."""
    if value is None:
        return None
    return error_pb2.Failure(
        stage=number(error_pb2.Stage, "STAGE", value.stage),
        code=number(error_pb2.Code, "CODE", value.code),
        reason=reason_number(value.reason),
        message=value.message,
        retryable=value.retryable,
        retry_after_seconds=value.retry_after_seconds,
    )


def warning(value: JobWarning) -> job_pb2.Warning:
    """Returns a warning."""
    return job_pb2.Warning(reason=reason_number(value.reason), message=value.message, image_index=value.image_index)
