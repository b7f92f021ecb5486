"""The gateway's client of the operator services of job-service."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1 import (
    bulk_action_service_pb2_grpc,
    dead_letter_service_pb2_grpc,
    job_admin_service_pb2,
    job_admin_service_pb2_grpc,
    queue_service_pb2,
    queue_service_pb2_grpc,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
)
from calotype.ops.v1 import dead_letter_service_pb2 as dead

from common import grpc_client
from common.errors import ServiceError
from gateway.problems.problem import from_service_error

T = TypeVar("T")
#: Longer than for jobs: a page of dead letters takes one broker request for each letter.
CALL_SECONDS = 1.8


class OperatorClient:
    """Calls the services of `calotype.ops.v1`. All methods raise `Problem`."""

    def __init__(self, channel: grpc.aio.Channel, *, call_seconds: float = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds
        self._dead = dead_letter_service_pb2_grpc.DeadLetterServiceStub(channel)
        self._queue = queue_service_pb2_grpc.QueueServiceStub(channel)
        self._jobs = job_admin_service_pb2_grpc.JobAdminServiceStub(channel)
        self._bulk = bulk_action_service_pb2_grpc.BulkActionServiceStub(channel)
        self._tenants = tenant_service_pb2_grpc.TenantServiceStub(channel)

    async def dead_letters(self, *, page_size: int, page_token: str, parked: bool) -> dead.ListDeadLettersResponse:
        """Returns a page of dead letters, oldest first; of parked messages instead if `parked`."""
        request = dead.ListDeadLettersRequest(page_size=page_size, page_token=page_token, parked=parked)
        return await self._call(self._dead.ListDeadLetters, request)

    async def replay(self, letter_id: str, *, key: str) -> bool:
        """Publishes a dead letter again; returns whether an earlier call with this key had done so already.

        An empty `key` never matches. Called only once, as a repeated call could return another result.
        """
        request = dead.ReplayDeadLetterRequest(id=letter_id, idempotency_key=key)
        return (await self._call(self._dead.ReplayDeadLetter, request)).replayed

    async def queue(self) -> queue_service_pb2.GetQueueResponse:
        """Returns the numbers of unfinished jobs and of outstanding work."""
        return await self._call(self._queue.GetQueue, queue_service_pb2.GetQueueRequest())

    async def throughput(self) -> queue_service_pb2.GetThroughputResponse:
        """Returns how many jobs ended in the last hour, and the age of each stage."""
        return await self._call(self._queue.GetThroughput, queue_service_pb2.GetThroughputRequest())

    async def provider_use(self) -> list[queue_service_pb2.ProviderUse]:
        """Returns all providers with their current use."""
        response = await self._call(self._queue.ListProviderUse, queue_service_pb2.ListProviderUseRequest())
        return [*response.providers]

    async def job(self, job_id: str, *, events_before: int = 0) -> queue_service_pb2.GetAnyJobResponse:
        """Returns all of a job of any tenant, with its changes before a sequence (0: the newest)."""
        request = queue_service_pb2.GetAnyJobRequest(job_id=job_id, events_before=events_before)
        return await self._call(self._queue.GetAnyJob, request)

    async def any_jobs(
        self, wanted: job_admin_service_pb2.JobFilter, *, page_size: int, page_token: str
    ) -> job_admin_service_pb2.ListAnyJobsResponse:
        """Returns a page of jobs of all tenants, newest first; it may be shorter than `page_size` before the end."""
        request = job_admin_service_pb2.ListAnyJobsRequest(filter=wanted, page_size=page_size, page_token=page_token)
        return await self._call(self._jobs.ListAnyJobs, request)

    async def pause(
        self, kind: job_admin_service_pb2.PauseKind.ValueType, name: str, *, note: str, principal: str
    ) -> job_admin_service_pb2.PauseInfo:
        """Pauses a provider, a tenant or the queue; repeating the call changes the note."""
        request = job_admin_service_pb2.PauseRequest(kind=kind, name=name, note=note, principal=principal)
        return (await self._call(self._jobs.Pause, request)).pause

    async def resume(self, kind: job_admin_service_pb2.PauseKind.ValueType, name: str) -> bool:
        """Ends a pause; returns whether it was in effect."""
        request = job_admin_service_pb2.ResumeRequest(kind=kind, name=name)
        return (await self._call(self._jobs.Resume, request)).resumed

    async def pauses(self) -> list[job_admin_service_pb2.PauseInfo]:
        """Returns the pauses in effect, oldest first."""
        response = await self._call(self._jobs.ListPauses, job_admin_service_pb2.ListPausesRequest())
        return [*response.pauses]

    async def preview_bulk_action(self, request: bulk.BulkActionRequest) -> bulk.PreviewBulkActionResponse:
        """Counts the jobs of a bulk action, and changes nothing."""
        return await self._call(self._bulk.PreviewBulkAction, bulk.PreviewBulkActionRequest(request=request))

    async def create_bulk_action(
        self, request: bulk.BulkActionRequest, *, principal: str, key: str
    ) -> bulk.CreateBulkActionResponse:
        """Starts a bulk action; repeating the call with the same key returns the same one."""
        create = bulk.CreateBulkActionRequest(request=request, principal=principal, idempotency_key=key)
        return await self._call(self._bulk.CreateBulkAction, create)

    async def bulk_action(self, bulk_action_id: str) -> bulk.BulkAction:
        """Returns a bulk action with its progress."""
        response = await self._call(self._bulk.GetBulkAction, bulk.GetBulkActionRequest(id=bulk_action_id))
        return response.bulk_action

    async def bulk_actions(self) -> list[bulk.BulkAction]:
        """Returns the newest bulk actions, newest first."""
        response = await self._call(self._bulk.ListBulkActions, bulk.ListBulkActionsRequest())
        return [*response.bulk_actions]

    async def cancel_bulk_action(self, bulk_action_id: str) -> bulk.BulkAction:
        """Stops a bulk action; repeating the call changes nothing."""
        response = await self._call(self._bulk.CancelBulkAction, bulk.CancelBulkActionRequest(id=bulk_action_id))
        return response.bulk_action

    async def set_tenant_limits(self, tenants: Sequence[tenant_service_pb2.TenantLimits]) -> None:
        """Replaces the stored limits of up to 1,000 tenants; repeating the call changes nothing."""
        request = tenant_service_pb2.SetTenantLimitsRequest(tenants=tenants)
        await self._call(self._tenants.SetTenantLimits, request)

    async def spend(self, *, page_size: int, page_token: str) -> tenant_service_pb2.ListSpendResponse:
        """Returns a page of the tenants that have a budget, with what they have spent."""
        request = tenant_service_pb2.ListSpendRequest(page_size=page_size, page_token=page_token)
        return await self._call(self._tenants.ListSpend, request)

    async def _call(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        try:
            return await grpc_client.call(method, request, timeout=self._call_seconds)
        except ServiceError as error:
            raise from_service_error(error) from error
