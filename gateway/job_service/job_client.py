"""job-service, as the gateway asks it: every call with a deadline, every no a `Problem`."""

from collections.abc import AsyncIterator, Awaitable, Callable
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
#: Whoever asks the gateway hears within two seconds that job-service, or what it needs, is away.
CALL_SECONDS = 1.5
#: What a large body, with its pictures, may take longer, in bytes a second.
BODY_PACE = 8 * 1024 * 1024
HEALTH_SECONDS = 1.0


class JobServiceClient:
    """The calls of `calotype.job.v1.JobService`. All but `watch` raise `Problem`; all are for one tenant."""

    def __init__(self, channel: grpc.aio.Channel, *, call_seconds: float = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._admission = ConcurrencyLimiter()

    @property
    def admission(self) -> ConcurrencyLimiter:
        """Whose turn it is to call job-service; an open stream and health take none."""
        return self._admission

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
        """Write a job down, or join one as the contract says; asked again by itself, as the key makes that safe."""
        asked = job_service_pb2.CreateJobRequest(
            tenant=tenant,
            idempotency_key=key,
            request=request,
            fingerprint=fingerprint,
            quota=quota,
            join_within_seconds=join_within_seconds,
        )
        seconds = self._call_seconds + asked.ByteSize() / BODY_PACE
        return await self._ask(self._stub.CreateJob, asked, attempts=3, seconds=seconds)

    async def get(self, tenant: str, job_id: str) -> job_pb2.Job:
        """A job as it is now."""
        asked = job_service_pb2.GetJobRequest(tenant=tenant, job_id=job_id)
        return (await self._ask(self._stub.GetJob, asked, attempts=2)).job

    async def page(self, asked: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:
        """A page of jobs."""
        return await self._ask(self._stub.ListJobs, asked, attempts=2)

    async def cancel(self, tenant: str, job_id: str, *, key: str) -> job_service_pb2.CancelJobResponse:
        """End a job; a second time changes nothing."""
        asked = job_service_pb2.CancelJobRequest(tenant=tenant, job_id=job_id, idempotency_key=key)
        return await self._ask(self._stub.CancelJob, asked, attempts=2)

    async def retry(self, asked: job_service_pb2.RetryJobRequest) -> job_service_pb2.RetryJobResponse:
        """Put a failed job back; its key makes asking again safe."""
        return await self._ask(self._stub.RetryJob, asked, attempts=3)

    async def delete(self, tenant: str, job_id: str) -> None:
        """Delete a job; asked once, as a second answer would say that there is none."""
        await self._ask(
            self._stub.DeleteJob, job_service_pb2.DeleteJobRequest(tenant=tenant, job_id=job_id), attempts=1
        )

    async def attempts(self, tenant: str, job_id: str) -> list[job_pb2.Attempt]:
        """Every claim of a job."""
        asked = job_service_pb2.ListAttemptsRequest(tenant=tenant, job_id=job_id)
        return [*(await self._ask(self._stub.ListAttempts, asked, attempts=2)).attempts]

    async def providers(self, tenant: str | None) -> list[provider_pb2.Provider]:
        """What the tenant may use of the catalogue; None: all of it."""
        asked = job_service_pb2.ListProvidersRequest(tenant=tenant)
        return [*(await self._ask(self._stub.ListProviders, asked, attempts=2)).providers]

    async def take_request(self, tenant: str, per_minute: int) -> job_service_pb2.RequestRate:
        """Count a request; asked once, as a second would be another one."""
        asked = job_service_pb2.TakeRequestRequest(tenant=tenant, requests_per_minute=per_minute)
        return (await self._ask(self._stub.TakeRequest, asked, attempts=1)).rate

    async def watch(
        self, tenant: str, job_id: str, *, after: int | None
    ) -> AsyncIterator[job_pb2.Job | job_service_pb2.Progress]:
        """A job's changes; leaving the iteration cancels the call. Raises `ServiceError`."""
        asked = job_service_pb2.WatchJobRequest(tenant=tenant, job_id=job_id, after_sequence=after)
        # To open one is a question like any other: thousands at once would keep job-service from all else.
        async with self._admission.place(self._call_seconds) as left:
            opened = await grpc_client.open_stream(self._stub.WatchJob, asked, timeout=left)
        async with aclosing(cast("Any", grpc_client.read(opened))) as updates:
            async for update in updates:
                yield update.job if update.WhichOneof("update") == "job" else update.progress

    async def serves(self) -> bool:
        """Whether job-service says that it can do its work. Raises `ServiceError` when it does not answer."""
        answer = await grpc_client.call(self._health.Check, health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _ask(
        self, method: Callable[..., Awaitable[T]], request: Any, *, attempts: int, seconds: float | None = None
    ) -> T:
        try:
            async with self._admission.place(seconds or self._call_seconds) as left:
                return await grpc_client.call(method, request, timeout=left, attempts=attempts)
        except ServiceError as error:
            raise from_service_error(error) from error
