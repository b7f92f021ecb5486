"""job-service's calls for operators about jobs, as the gateway's client makes them."""

from hashlib import sha256
from typing import Any

from calotype.error_reasons import Reason
from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1 import job_admin_service_pb2 as admin
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.auth.keyring import Keyring, Principal
from gateway.problems.problem import Problem
from tests.support.job_service.fake_job_service import FakeJobService

KEYS = Keyring(
    [
        Principal(tenant="ops", role="operator", key_sha256=sha256(b"operator-key").hexdigest()),
        Principal(tenant="acme", key_sha256=sha256(b"tenant-key").hexdigest()),
    ]
)


class JobOperator:
    """One job of a tenant."""

    def __init__(self) -> None:
        #: Arguments of each call.
        self.requests: list[Any] = []
        #: Pages without a job before the one with it.
        self.empty_pages = 0
        #: Pauses in effect by kind and name.
        self.paused: dict[tuple[int, str], admin.PauseInfo] = {}
        #: Bulk actions by key, which finish when they are looked at for the third time.
        self.bulk: dict[str, bulk.BulkAction] = {}
        #: Jobs that match every bulk action.
        self.matched = 3
        self._looks = 0

    async def any_jobs(self, wanted: admin.JobFilter, *, page_size: int, page_token: str) -> admin.ListAnyJobsResponse:
        """The job, after the empty pages."""
        self.requests.append((wanted, page_size, page_token))
        if self.empty_pages:
            self.empty_pages -= 1
            return admin.ListAnyJobsResponse(next_page_token="next")
        job = admin.AnyJob(tenant="acme", job=FakeJobService().add(id="job_1"))
        return admin.ListAnyJobsResponse(jobs=[job], next_page_token="next")

    async def pause(self, kind: admin.PauseKind, name: str, *, note: str, principal: str) -> admin.PauseInfo:
        """Pauses all but one provider, which nobody has registered."""
        if name == "unknown":
            raise Problem(reason=Reason.NOT_FOUND, detail="No generator has ever registered it.")
        at = Timestamp(seconds=1)
        self.paused[kind, name] = admin.PauseInfo(kind=kind, name=name, note=note, paused_by=principal, paused_at=at)
        return self.paused[kind, name]

    async def resume(self, kind: admin.PauseKind, name: str) -> bool:
        """Ends the pause."""
        return self.paused.pop((kind, name), None) is not None

    async def pauses(self) -> list[admin.PauseInfo]:
        """The pauses."""
        return [*self.paused.values()]

    async def preview_bulk_action(self, request: bulk.BulkActionRequest) -> bulk.PreviewBulkActionResponse:
        """The jobs that match."""
        self.requests.append(request)
        if not request.filter.ByteSize():
            raise Problem(reason=Reason.INVALID_INPUT, detail="filter: Set at least one filter.")
        return bulk.PreviewBulkActionResponse(
            matched=self.matched, is_matched_exact=True, job_ids=["job_1"][: self.matched]
        )

    async def create_bulk_action(
        self, request: bulk.BulkActionRequest, *, principal: str, key: str
    ) -> bulk.CreateBulkActionResponse:
        """A new one, or that of the key."""
        self.requests.append(request)
        replayed = key in self.bulk
        if not replayed:
            self.bulk[key] = bulk.BulkAction(
                id=f"bulk_{len(self.bulk)}",
                request=request,
                requested_by=principal,
                state=bulk.BULK_ACTION_STATE_RUNNING,
                matched=self.matched,
                is_matched_exact=True,
                created_at=Timestamp(seconds=1),
            )
        return bulk.CreateBulkActionResponse(bulk_action=self.bulk[key], replayed=replayed)

    async def bulk_action(self, bulk_action_id: str) -> bulk.BulkAction:
        """One by its id, with its progress."""
        found = next((action for action in self.bulk.values() if action.id == bulk_action_id), None)
        if found is None:
            raise Problem(reason=Reason.NOT_FOUND, detail="There is no such bulk action.")
        self._looks += 1
        if self._looks % 3 == 0 and found.state == bulk.BULK_ACTION_STATE_RUNNING:
            refusal = bulk.BulkActionFailure(reason="CONSENT_REQUIRED", count=1, job_id="job_1")
            found.MergeFrom(bulk.BulkAction(done=2, skipped=1, failures=[refusal], finished_at=Timestamp(seconds=2)))
            found.state = bulk.BULK_ACTION_STATE_FINISHED
        return found

    async def bulk_actions(self) -> list[bulk.BulkAction]:
        """All of them, newest first."""
        return [*self.bulk.values()][::-1]

    async def cancel_bulk_action(self, bulk_action_id: str) -> bulk.BulkAction:
        """Stops one."""
        found = await self.bulk_action(bulk_action_id)
        found.state = bulk.BULK_ACTION_STATE_CANCELED
        return found
