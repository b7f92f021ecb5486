"""job-service's gRPC API, as its clients and its workers have it."""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from calotype.job.v1 import job_pb2, job_service_pb2, worker_service_pb2

from common.errors import ServiceError
from common.grpc_client import call, stream
from common.jetstream import JetStream
from common.postgres import Database
from services.job.loops.job_watchers import Watchers
from tests.support.patience import PATIENCE


@dataclass(frozen=True)
class Api:
    """Both services, as clients and workers have them."""

    jobs: Any
    work: Any
    broker: JetStream
    watching: Watchers
    database: Database

    async def create(self, prompt: str = "a harbour", *, key: str = "", **fields: Any) -> Any:
        """Submits a job; returns the whole response."""
        request = job_service_pb2.CreateJobRequest(
            tenant="acme", idempotency_key=key, request=job_pb2.JobRequest(prompt=prompt, **fields)
        )
        return await call(self.jobs.CreateJob, request, timeout=PATIENCE)

    async def create_batch(self, *items: tuple[str, str], **fields: Any) -> Any:
        """Submits a job for each prompt and key, all with these fields; returns the whole response."""
        request = job_service_pb2.CreateJobsRequest(
            tenant="acme",
            items=[
                job_service_pb2.CreateJobsItem(idempotency_key=key, request=job_pb2.JobRequest(prompt=prompt, **fields))
                for prompt, key in items
            ],
        )
        return await call(self.jobs.CreateJobs, request, timeout=PATIENCE)

    async def get(self, job_id: str) -> Any:
        """Read a job."""
        return (
            await call(self.jobs.GetJob, job_service_pb2.GetJobRequest(tenant="acme", job_id=job_id), timeout=PATIENCE)
        ).job

    async def cancel(self, job_id: str) -> Any:
        """Cancel a job."""
        return await call(
            self.jobs.CancelJob, job_service_pb2.CancelJobRequest(tenant="acme", job_id=job_id), timeout=PATIENCE
        )

    async def page(self, **fields: Any) -> Any:
        """Read a page."""
        return await call(
            self.jobs.ListJobs, job_service_pb2.ListJobsRequest(tenant="acme", **fields), timeout=PATIENCE
        )

    def watch(self, job_id: str, after: int | None = None) -> Any:
        """Follow a job."""
        request = job_service_pb2.WatchJobRequest(tenant="acme", job_id=job_id, after_sequence=after)
        return aclosing(stream(self.jobs.WatchJob, request))

    async def claim(self, *tokens: str) -> Any:
        """Claim jobs as a generator."""
        request = worker_service_pb2.ClaimJobsRequest(
            worker="w", lease_tokens=tokens or [str(uuid4())], providers=["procedural", "paid"]
        )
        return (await call(self.work.ClaimJobs, request, timeout=PATIENCE)).jobs


async def refusal_of(call: Any) -> ServiceError:
    """Returns the error of a call that must fail."""
    with pytest.raises(ServiceError) as refused:
        await call
    return refused.value
