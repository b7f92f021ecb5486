"""Calls of operators, for the client for threads."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from calotype.client import admin_requests
from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1 import (
    bulk_action_service_pb2_grpc,
    job_admin_service_pb2,
    job_admin_service_pb2_grpc,
    queue_service_pb2,
    queue_service_pb2_grpc,
)

T = TypeVar("T")


class AdminMethods:
    """Jobs of all tenants, pauses and bulk actions, for an identity with the role `operator`.

    Every method raises `CalotypeError`: `NotAllowed` without the role.
    """

    def __init__(self, channel: grpc.Channel, call: Callable[[Callable[..., Any], Any], Any], *, by: str) -> None:
        self._jobs = job_admin_service_pb2_grpc.JobAdminServiceStub(channel)
        self._queue = queue_service_pb2_grpc.QueueServiceStub(channel)
        self._bulk = bulk_action_service_pb2_grpc.BulkActionServiceStub(channel)
        self._call = call
        self._by = by

    def jobs(self, filters: job_admin_service_pb2.JobFilter | None = None) -> Iterator[job_admin_service_pb2.AnyJob]:
        """Yields jobs of all tenants that match the filters, newest first; pages are fetched as they are needed.

        Raises `InvalidRequest`.
        """
        request = job_admin_service_pb2.ListAnyJobsRequest(filter=filters, page_size=admin_requests.PAGE_SIZE)
        while True:
            page: job_admin_service_pb2.ListAnyJobsResponse = self._call(self._jobs.ListAnyJobs, request)
            yield from page.jobs
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def job(self, job_id: str, *, events_before: int = 0) -> queue_service_pb2.GetAnyJobResponse:
        """Returns all of a job: attempts with the providers' messages, lease, changes before a sequence (0: newest).

        Raises `JobNotFound`.
        """
        request = queue_service_pb2.GetAnyJobRequest(job_id=job_id, events_before=events_before)
        response: queue_service_pb2.GetAnyJobResponse = self._call(self._queue.GetAnyJob, request)
        return response

    def pause(
        self, kind: job_admin_service_pb2.PauseKind.ValueType, name: str = "", *, note: str = "", by: str | None = None
    ) -> job_admin_service_pb2.PauseInfo:
        """Pauses a provider, a tenant or the queue, which has no name. `by` names the operator; None: the tenant.

        Raises `InvalidRequest`, and `NotFound` for a provider that no generator ever registered.
        """
        request = job_admin_service_pb2.PauseRequest(kind=kind, name=name, note=note, principal=by or self._by)
        response: job_admin_service_pb2.PauseResponse = self._call(self._jobs.Pause, request)
        return response.pause

    def resume(self, kind: job_admin_service_pb2.PauseKind.ValueType, name: str = "") -> bool:
        """Ends a pause; returns whether it was in effect. Raises `InvalidRequest`."""
        request = job_admin_service_pb2.ResumeRequest(kind=kind, name=name)
        response: job_admin_service_pb2.ResumeResponse = self._call(self._jobs.Resume, request)
        return response.resumed

    def pauses(self) -> list[job_admin_service_pb2.PauseInfo]:
        """Returns the pauses in effect, oldest first."""
        request = job_admin_service_pb2.ListPausesRequest()
        response: job_admin_service_pb2.ListPausesResponse = self._call(self._jobs.ListPauses, request)
        return [*response.pauses]

    def preview_bulk_action(self, request: bulk.BulkActionRequest) -> bulk.PreviewBulkActionResponse:
        """Counts the jobs of a bulk action, up to 10,000, and changes nothing. Raises `InvalidRequest`."""
        preview = bulk.PreviewBulkActionRequest(request=request)
        response: bulk.PreviewBulkActionResponse = self._call(self._bulk.PreviewBulkAction, preview)
        return response

    def create_bulk_action(
        self, request: bulk.BulkActionRequest, *, idempotency_key: str | None = None, by: str | None = None
    ) -> bulk.BulkAction:
        """Starts a bulk action and returns it without waiting for its jobs.

        Calls with the same `idempotency_key` return the same one; None: a new key, which only the attempts of this
        call share. `by` names the operator; None: the tenant. Raises `InvalidRequest`, `IdempotencyKeyReused`.
        """
        create = admin_requests.create_bulk_action(request, idempotency_key=idempotency_key, by=by or self._by)
        response: bulk.CreateBulkActionResponse = self._call(self._bulk.CreateBulkAction, create)
        return response.bulk_action

    def bulk_action(self, bulk_action_id: str) -> bulk.BulkAction:
        """Returns a bulk action with its progress. Raises `NotFound`."""
        request = bulk.GetBulkActionRequest(id=bulk_action_id)
        response: bulk.GetBulkActionResponse = self._call(self._bulk.GetBulkAction, request)
        return response.bulk_action

    def bulk_actions(self) -> list[bulk.BulkAction]:
        """Returns the newest bulk actions, newest first, at most 50."""
        response: bulk.ListBulkActionsResponse = self._call(self._bulk.ListBulkActions, bulk.ListBulkActionsRequest())
        return [*response.bulk_actions]

    def cancel_bulk_action(self, bulk_action_id: str) -> bulk.BulkAction:
        """Stops a bulk action; what it did stays. Raises `NotFound`."""
        request = bulk.CancelBulkActionRequest(id=bulk_action_id)
        response: bulk.CancelBulkActionResponse = self._call(self._bulk.CancelBulkAction, request)
        return response.bulk_action
