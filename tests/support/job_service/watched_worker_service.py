"""The real WorkerService on a real database, for worker processes; a test sees their requests and injects failures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from calotype.job.v1 import worker_service_pb2 as worker

from common.errors import ServiceError
from common.grpc_server import serve
from common.health import Readiness
from common.jetstream import JetStream
from common.postgres import Database
from services.job.application import stale_jobs, submission
from services.job.domain.jobs import Job
from services.job.domain.timeouts import StageTimeouts
from services.job.grpc_api.worker_service import WorkerService
from services.job.loops.outbox_relay import OutboxRelay
from services.job.messages import from_protobuf
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.patience import PATIENCE

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
#: What a busy machine does not use up before a call is made, and what is renewed every second or two.
LONG_LEASE, SHORT_LEASE = 60.0, 6.0
_METHODS = list(worker.DESCRIPTOR.services_by_name["WorkerService"].methods_by_name)


class WatchedWorkerService(WorkerService):
    """Records requests; loses responses or refuses calls as a test sets, otherwise decides as usual.

    `jobs` are the use cases on the same database, for what users and time do in a test.
    """

    def __init__(self, database: Database, relay: OutboxRelay, jobs: JobUseCases) -> None:
        super().__init__(database, relay, jobs.limits)
        self.jobs = jobs
        self.address = ""
        self.requests: list[Any] = []
        #: Number of the next claims that are made and whose responses are lost.
        self.lose_claims = 0
        self.refuse: dict[str, grpc.StatusCode] = {}
        self._changed = asyncio.Condition()

    def lease_for(self, seconds: float) -> None:
        """Give leases of another length from now on."""
        self._limits = self.jobs.limits = replace(self._limits, lease_seconds=seconds)

    def add(self, *, tenant: str = "acme", **request: Any) -> str:
        """A new job that is due."""
        wanted = job_pb2.JobRequest(**({"prompt": "a harbour", "provider": "procedural"} | request))
        new = submission.NewJob(
            tenant=tenant,
            idempotency_key="",
            fingerprint="",
            request=from_protobuf.request(wanted),
            input_bytes=from_protobuf.input_bytes(wanted),
            traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
        )
        return self.jobs.run(lambda c: submission.create_job(c, new)).snapshot.job.id

    def rescue(self, job_id: str) -> None:
        """Its lease ran out, the monitor saw it, and it is due again."""
        self.jobs.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE id = :id", id=job_id)
        noted = self.jobs.run(lambda c: stale_jobs.candidates(c, self._limits))
        self.jobs.run(lambda c: stale_jobs.rescue(c, noted, limits=self._limits))
        self.jobs.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE id = :id", id=job_id)

    def holds(self, job_id: str, token: str) -> bool:
        """Returns whether the token's worker holds the job."""
        job: Job = self.jobs.job(job_id)
        return job.lease is not None and job.lease.token == UUID(token)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a request brings about."""
        async with self._changed, asyncio.timeout(PATIENCE):
            await self._changed.wait_for(condition)

    def requests_of(self, kind: type[Any]) -> list[Any]:
        """Requests of a kind, in their order."""
        return [request for request in self.requests if isinstance(request, kind)]

    @property
    def released(self) -> list[tuple[str, tuple[str, ...]]]:
        """Jobs that were handed back, and the calls of which something was known then."""
        releases = self.requests_of(worker.ReleaseJobRequest)
        return [(release.lease.job_id, tuple(outcome.call_id for outcome in release.settled)) for release in releases]

    async def GetJobInput(self, request: Any, context: Any) -> AsyncIterator[worker.GetJobInputResponse]:
        """As it is, and kept."""
        await self._keep(request)
        async for response in super().GetJobInput(request, context):
            yield response

    async def _keep(self, request: Any) -> None:
        async with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    async def _respond(self, method: str, request: Any, context: Any) -> Any:
        if (status := self.refuse.get(method)) is not None:
            await self._keep(request)
            raise ServiceError(status=status, reason=Reason("UNAVAILABLE"), message="No.")
        response = await getattr(WorkerService, method)(self, request, context)
        await self._keep(request)
        if self.lose_claims and (getattr(response, "jobs", None) or getattr(response, "uploads", None)):
            self.lose_claims -= 1
            raise ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="Lost.")
        return response


def _unary(method: str) -> Any:
    async def call(self: WatchedWorkerService, request: Any, context: Any) -> Any:
        return await self._respond(method, request, context)

    return call


for _method in _METHODS:
    if _method != "GetJobInput":
        setattr(WatchedWorkerService, _method, _unary(_method))


@asynccontextmanager
async def worker_service(database_url: str, broker: JetStream) -> AsyncIterator[WatchedWorkerService]:
    """Serve it on a free port."""
    database = Database(database_url, application="test", pool_size=4)
    with use_cases_at(database_url, StageTimeouts(lease_seconds=LONG_LEASE)) as jobs:
        service = WatchedWorkerService(database, OutboxRelay(database, broker), jobs)
        async with serve("127.0.0.1:0", [service.grpc_service()], ready=Readiness(), grace_seconds=0) as port:
            service.address = f"127.0.0.1:{port}"
            yield service
    await database.close()
