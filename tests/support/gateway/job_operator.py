"""job-service's calls for operators about jobs, as the gateway's client makes them."""

from hashlib import sha256
from typing import Any

from calotype.error_reasons import Reason
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
