"""Converts the jobs that ended lately to their JSON view."""

from calotype.job.v1 import job_pb2
from calotype.ops.v1 import queue_service_pb2

from gateway.schemas.throughput import FailureCountView, MinuteView, StageAgeView, ThroughputView
from gateway.views.protobuf import lower_enum_name, required_time


def throughput(response: queue_service_pb2.GetThroughputResponse) -> ThroughputView:
    """Returns the view of the jobs that ended lately."""
    return ThroughputView(
        now=required_time(response, "now"),
        counted_since=required_time(response, "counted_since"),
        minutes=[
            MinuteView(
                starts_at=required_time(minute, "starts_at"),
                completed=minute.completed,
                failed=minute.failed,
                canceled=minute.canceled,
            )
            for minute in response.minutes
        ],
        failures=[FailureCountView(reason=failure.reason, jobs=failure.jobs) for failure in response.failures],
        stages=[
            StageAgeView(
                status=lower_enum_name(job_pb2.Status, "STATUS", stage.status),
                oldest_seconds=round(stage.oldest_seconds, 3),
            )
            for stage in response.stages
        ],
    )
