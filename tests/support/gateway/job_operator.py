"""job-service's calls for operators about jobs, as the gateway's client makes them."""

from hashlib import sha256
from typing import Any

from calotype.ops.v1 import job_admin_service_pb2 as admin

from gateway.auth.keyring import Keyring, Principal
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

    async def any_jobs(self, wanted: admin.JobFilter, *, page_size: int, page_token: str) -> admin.ListAnyJobsResponse:
        """The job, after the empty pages."""
        self.requests.append((wanted, page_size, page_token))
        if self.empty_pages:
            self.empty_pages -= 1
            return admin.ListAnyJobsResponse(next_page_token="next")
        job = admin.AnyJob(tenant="acme", job=FakeJobService().add(id="job_1"))
        return admin.ListAnyJobsResponse(jobs=[job], next_page_token="next")
