"""The gateway's client of job-service: every call has a time limit, and every error becomes a `Problem`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import grpc
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from calotype.provider.v1 import provider_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common import grpc_client
from common.errors import ServiceError
from gateway.job_service.concurrency_limit import ConcurrencyLimiter
from gateway.problems.problem import from_service_error

T = TypeVar("T")
#: So that clients get an error within two seconds when job-service, or what it depends on, is unreachable.
CALL_SECONDS = 1.5
#: Bytes per second by which a large request, with its images, extends the time limit of its call.
BODY_BYTES_PER_SECOND = 8 * 1024 * 1024
HEALTH_SECONDS = 1.0


class JobServiceClient:
    """Calls `calotype.job.v1.JobService` for one tenant at a time. All methods except `watch` raise `Problem`."""

    def __init__(self, channel: grpc.aio.Channel, *, call_seconds: float = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._limiter = ConcurrencyLimiter()

    @property
    def limiter(self) -> ConcurrencyLimiter:
        """The limit on concurrent calls; open streams and health checks take no slot."""
        return self._limiter

    async def create(
        self,
        tenant: str,
        request: job_pb2.JobRequest,
        *,
        key: str,
        fingerprint: str,
        quota: job_service_pb2.TenantQuota,
        join_within_seconds: int | None = None,
    ) -> job_service_pb2.CreateJobResponse:
        """Creates a job, or returns the one that the Idempotency-Key or `join_within_seconds` selects.

        Repeats the call on failure; the key makes that safe.
        """
        message = job_service_pb2.CreateJobRequest(
            tenant=tenant,
            idempotency_key=key,
            request=request,
            fingerprint=fingerprint,
            quota=quota,
            join_within_seconds=join_within_seconds,
        )
        seconds = self._call_seconds + message.ByteSize() / BODY_BYTES_PER_SECOND
        return await self._call(self._stub.CreateJob, message, attempts=3, seconds=seconds)

    async def create_batch(
        self,
        tenant: str,
        items: Sequence[job_service_pb2.CreateJobsItem],
        *,
        quota: job_service_pb2.TenantQuota,
    ) -> job_service_pb2.CreateJobsResponse:
        """Creates the jobs of a batch. Repeats the call on failure; the key of each item makes that safe."""
        message = job_service_pb2.CreateJobsRequest(tenant=tenant, items=items, quota=quota)
        seconds = self._call_seconds + message.ByteSize() / BODY_BYTES_PER_SECOND
        return await self._call(self._stub.CreateJobs, message, attempts=3, seconds=seconds)

    async def get(self, tenant: str, job_id: str) -> job_pb2.Job:
        """Returns the job in its current state."""
        request = job_service_pb2.GetJobRequest(tenant=tenant, job_id=job_id)
        return (await self._call(self._stub.GetJob, request, attempts=2)).job

    async def page(self, request: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:
        """Returns a page of jobs."""
        return await self._call(self._stub.ListJobs, request, attempts=2)

    async def cancel(self, tenant: str, job_id: str, *, key: str) -> job_service_pb2.CancelJobResponse:
        """Cancels a job; canceling it again changes nothing."""
        request = job_service_pb2.CancelJobRequest(tenant=tenant, job_id=job_id, idempotency_key=key)
        return await self._call(self._stub.CancelJob, request, attempts=2)

    async def retry(self, request: job_service_pb2.RetryJobRequest) -> job_service_pb2.RetryJobResponse:
        """Returns a failed job to the queue or to the upload; its key makes repeated calls safe."""
        return await self._call(self._stub.RetryJob, request, attempts=3)

    async def delete(self, tenant: str, job_id: str) -> None:
        """Deletes a job. Called only once, as a repeated call would report that there is no such job."""
        await self._call(
            self._stub.DeleteJob, job_service_pb2.DeleteJobRequest(tenant=tenant, job_id=job_id), attempts=1
        )

    async def attempts(self, tenant: str, job_id: str) -> list[job_pb2.Attempt]:
        """Returns all attempts of a job, oldest first."""
        request = job_service_pb2.ListAttemptsRequest(tenant=tenant, job_id=job_id)
        return [*(await self._call(self._stub.ListAttempts, request, attempts=2)).attempts]

    async def providers(self, tenant: str | None) -> list[provider_pb2.Provider]:
        """Returns the providers that the tenant may use; all of them for None."""
        request = job_service_pb2.ListProvidersRequest(tenant=tenant)
        return [*(await self._call(self._stub.ListProviders, request, attempts=2)).providers]

    async def count_request(self, tenant: str, per_minute: int) -> job_service_pb2.RequestRate:
        """Counts a request against the tenant's rate limit. Called only once, as a repeated call counts twice."""
        request = job_service_pb2.TakeRequestRequest(tenant=tenant, requests_per_minute=per_minute)
        return (await self._call(self._stub.TakeRequest, request, attempts=1)).rate

    async def watch(
        self, tenant: str, job_id: str, *, after: int | None
    ) -> AsyncIterator[job_pb2.Job | job_service_pb2.Progress]:
        """Yields a job's changes after a sequence, and its progress; None: starts with its current state.

        Ending the iteration cancels the call. Raises `ServiceError`.
        """
        request = job_service_pb2.WatchJobRequest(tenant=tenant, job_id=job_id, after_sequence=after)
        # Opening takes a slot as other calls do: thousands at once would block job-service for all of them.
        async with self._limiter.slot(self._call_seconds) as limit:
            stream = await grpc_client.open_stream(self._stub.WatchJob, request, timeout=limit)
        async with aclosing(cast("Any", grpc_client.read_stream(stream))) as updates:
            async for update in updates:
                yield update.job if update.WhichOneof("update") == "job" else update.progress

    async def serves(self) -> bool:
        """Returns whether job-service reports that it is ready. Raises `ServiceError` if it does not respond."""
        response = await grpc_client.call(self._health.Check, health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def _call(
        self, method: Callable[..., Awaitable[T]], request: Any, *, attempts: int, seconds: float | None = None
    ) -> T:
        try:
            async with self._limiter.slot(seconds or self._call_seconds) as limit:
                return await grpc_client.call(method, request, timeout=limit, attempts=attempts)
        except ServiceError as error:
            raise from_service_error(error) from error
