"""`JobService` port over the gRPC service `calotype.job.v1.JobService`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime

import grpc
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import ServiceError
from common.grpc_client import call
from services.notifier.domain.events import JobEvent
from services.notifier.ports import EventKey, FinalEvents, JobPayload, ResumeTokenRefused

#: Deadline of a call in seconds, all its attempts together, and the number of attempts.
TIMEOUT_SECONDS, ATTEMPTS = 10.0, 2
#: Jobs that are requested at once: the largest ones then fit into `MAX_RESPONSE_BYTES`.
JOBS_PER_CALL = 25
MAX_RESPONSE_BYTES = 32 * 1024 * 1024


class GrpcJobService:
    """Calls job-service. `render` returns the JSON text of a job."""

    def __init__(self, channel: grpc.aio.Channel, *, render: Callable[[job_pb2.Job], str]) -> None:
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._render = render

    async def final_events(self, *, resume_token: str | None, since: datetime, limit: int) -> FinalEvents:
        """Reads a page of the feed. Raises `ResumeTokenRefused`, and `ServiceError` like every method."""
        request = job_service_pb2.ListFinalEventsRequest(
            since=_timestamp(since), page_size=limit, page_token=resume_token or "", references_only=True
        )
        try:
            response = await call(self._stub.ListFinalEvents, request, timeout=TIMEOUT_SECONDS, attempts=ATTEMPTS)
        except ServiceError as error:
            if any(violation.field == "page_token" for violation in error.field_violations):
                raise ResumeTokenRefused from error
            raise
        return FinalEvents(
            events=[_event(reference) for reference in response.events],
            resume_token=response.resume_token,
            is_end=not response.next_page_token,
        )

    async def jobs(self, keys: Collection[EventKey]) -> Mapping[EventKey, JobPayload]:
        """Reads jobs as they were after events, in as few calls as their size allows."""
        wanted = list(dict.fromkeys(keys))
        found: dict[EventKey, JobPayload] = {}
        for start in range(0, len(wanted), JOBS_PER_CALL):
            found |= await self._jobs(wanted[start : start + JOBS_PER_CALL])
        return found

    async def _jobs(self, keys: Sequence[EventKey]) -> Mapping[EventKey, JobPayload]:
        request = job_service_pb2.GetFinalEventsRequest(
            keys=[job_service_pb2.FinalEventKey(job_id=job_id, sequence=sequence) for job_id, sequence in keys]
        )
        response = await call(self._stub.GetFinalEvents, request, timeout=TIMEOUT_SECONDS, attempts=ATTEMPTS)
        return {
            (event.reference.job_id, event.reference.sequence): JobPayload(
                json=self._render(event.job), traceparent=event.traceparent
            )
            for event in response.events
        }


def _event(reference: job_service_pb2.FinalEventReference) -> JobEvent:
    return JobEvent(
        job_id=reference.job_id,
        tenant=reference.tenant,
        sequence=reference.sequence,
        type=reference.type,
        occurred_at=reference.occurred_at.ToDatetime(tzinfo=UTC),
        callback_url=reference.callback_url or None,
    )


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
